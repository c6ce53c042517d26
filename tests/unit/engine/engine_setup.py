"""The example service on drivers in memory, and an event loop in which waiting takes no time."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from entourage.drivers.memory import (
    MemoryGuard,
    MemoryHypervisor,
    MemoryIngress,
    MemoryJournal,
    MemorySegments,
    MemoryVerifier,
    MemoryWatch,
    MemoryWorld,
)
from entourage.engine.mover import Drivers, GroupMover, Outcome
from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, SiteId
from entourage.ports.hypervisor import CopyProgress
from entourage.ports.right import Right
from entourage.spec import load_infrastructure, load_service
from entourage.switch import Group, Policy
from entourage.switch import types as sw

EXAMPLES = Path(__file__).parents[3] / "examples"
SHOP = load_service(EXAMPLES / "shop.yaml", load_infrastructure(EXAMPLES / "sites.yaml"))
EAST, WEST = SiteId("east"), SiteId("west")
RT, FW, LB, WEB1, WEB2 = MEMBERS = tuple(MemberId(name) for name in ("rt", "fw", "lb", "web1", "web2"))
SERVERS = (WEB1, WEB2)
INSIDE = SegmentId("inside")
_HOST = {RT: "h1", FW: "h1", LB: "h1", WEB1: "h2", WEB2: "h2"}

_T = TypeVar("_T")


def abort(mover: GroupMover) -> None:
    mover.abort("not now")


class _NoWaiting(selectors.DefaultSelector):
    """Where a loop would wait for a timer, its clock jumps there instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nothing will ever happen"
            self.now += max(timeout, 0.0)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._no_waiting = _NoWaiting()
        super().__init__(self._no_waiting)

    def time(self) -> float:
        return self._no_waiting.now


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run it in a loop whose timers take no time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)


def host(member: MemberId, site: SiteId) -> HostId:
    return HostId(f"{site}/{_HOST[member]}")


def a_group(*, order: tuple[MemberId, ...] = MEMBERS, source: SiteId = EAST, target: SiteId = WEST) -> Group:
    """A move of these members. If not all: `inside` is stretched on the way there, and separated on the way back."""
    whole = len(order) == len(MEMBERS)
    leaves, returns = (not whole and target == WEST), (not whole and target == EAST)
    return Group(
        order=order,
        sources={member: host(member, source) for member in order},
        targets={member: host(member, target) for member in order},
        source_site=source,
        target_site=target,
        moves_ingress=whole,
        stretch=(INSIDE,) if leaves else (),
        unstretch=(INSIDE,) if returns else (),
        policy=Policy(link_rate=25e6, enough_bytes=20_000, max_rounds=3),
    )


def a_world() -> MemoryWorld:
    return MemoryWorld(
        hosts=tuple(HostId(f"{site}/{name}") for site in (EAST, WEST) for name in ("h1", "h2")),
        regions={RegionId("users-east"): EAST, RegionId("users-west"): WEST},
        dirty_rates=dict.fromkeys(MEMBERS, 1e6),
    )


@dataclass(kw_only=True)
class Stage:
    """A world with the service at rest at `east`, the drivers over it, and movers that are watched."""

    world: MemoryWorld = field(default_factory=a_world)
    states: list[type] = field(default_factory=list)
    progress: list[CopyProgress] = field(default_factory=list)
    retries: list[str] = field(default_factory=list)  # what was tried again
    when: dict[type, Callable[[GroupMover], object]] = field(default_factory=dict)  # at the beginning of a state
    right: Right | None = None

    def __post_init__(self) -> None:
        self.watch = MemoryWatch(self.world)
        self.verifier = MemoryVerifier(self.world)
        self.hypervisor = MemoryHypervisor(self.world)
        self.ingress = MemoryIngress(self.world)
        self.segments = MemorySegments(self.world)
        self.journal = MemoryJournal(self.world)
        self.guard = MemoryGuard(self.world)

    def mover(self) -> GroupMover:
        drivers = Drivers(
            hypervisor=self.hypervisor,
            ingress=self.ingress,
            segments=self.segments,
            watch=self.watch,
            verifier=self.verifier,
            guard=self.guard,
        )

        def shown(state: sw.State) -> None:
            self.states.append(type(state))
            if type(state) in self.when:
                self.when[type(state)](mover)

        mover = GroupMover(SHOP, drivers, self.journal, progress=self.progress.append, shown=shown, right=self.right)
        mover.on_retry = self.retries.append
        return mover

    async def rest(self) -> None:
        """Everything runs at `east`, and users enter there."""
        for member in SHOP.members:
            await self.hypervisor.create(member, host(member.id, EAST))
        await self.ingress.activate(SHOP, EAST)
        self.world.calls.clear()

    def move(self, group: Group, *, before: Callable[[], None] | None = None) -> Outcome:
        """The whole move from rest; `before` sets up what goes wrong in it."""

        async def work() -> Outcome:
            await self.rest()
            if before is not None:
                before()
            return await self.mover().run(group)

        return run(work())

    def traces(self, *, home: SiteId, members: tuple[MemberId, ...] = MEMBERS) -> list[str]:
        """What is there beside the service at rest at `home`."""
        return self.world.traces(SHOP.id, members=members, home=home)
