"""One switch by its mover, in this process from the beginning, or taken over from one that died."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from entourage.drivers.records import MoveRecords
from entourage.engine.groups import group_from_json
from entourage.engine.mover import GroupMover, Mark, Outcome, RecoveryError
from entourage.engine.uncoordinated import UncoordinatedMover, times
from entourage.model.ids import MemberId
from entourage.operations.favour import favoured
from entourage.operations.interruption import Interruption
from entourage.planner import Strategy
from entourage.ports.hypervisor import ProgressCallback, RunState
from entourage.ports.right import Right
from entourage.switch import Group
from entourage.switch import types as sw
from entourage.wiring import Wired

ABORT, COMMIT = "abort", "commit"  # what may be wished of a move
UNRESOLVED = "unresolved"  # an outcome: what is there fits neither end, somebody has to look
_LISTEN_S = 0.3  # how often whoever drives a move looks for wishes


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Whom to tell how a move is going."""

    progress: ProgressCallback
    phase: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """What both kinds of movers leave behind for the report. After a recovery less is known, and less is in it."""

    outcome: str
    reason: str | None = None
    problems: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()  # those problems that say that the target does not serve
    stopped: Mapping[MemberId, float] = field(default_factory=dict)
    resumed: Mapping[MemberId, float] = field(default_factory=dict)
    copied: Mapping[MemberId, int] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As a document; `switched_from_json` makes the same again."""
        return asdict(self)


def switched_from_json(data: Mapping[str, Any]) -> Switched:
    """From a document."""
    marks = [Mark(**mark) for mark in data["marks"]]
    return Switched(
        **{**data, **{name: tuple(data.get(name, ())) for name in ("problems", "unverified")}, "marks": marks}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A move's id, its records, the right to drive it, and whom to tell."""

    wired: Wired
    records: MoveRecords
    move: str
    right: Right
    shown: Shown

    async def run(self, strategy: Strategy, group: Group, interruption: Interruption) -> Switched:
        """From the beginning. An `interruption` before the commit puts a group back; other strategies go on."""
        if strategy is Strategy.GROUP:
            with favoured() as favour:
                mover = self._mover(favour.follow)
                async with self._heard(mover):
                    with interruption.instead(mover.abort):
                        return _of_group(await mover.run(group))
        phase = self.shown.phase
        phase("migrating")
        own_mover = UncoordinatedMover(self.wired.place.service, self.wired.drivers, progress=self.shown.progress)
        with interruption.instead(lambda _: phase("migrating to its end, for there is no way back")):
            own = await own_mover.run(group, at_once=strategy is Strategy.PARALLEL)
        paused, resumed = times(own)
        return Switched(
            outcome="rolled-back" if own.failures else "committed",
            reason="; ".join(own.failures) or None,
            problems=own.problems,
            stopped=paused,
            resumed=resumed,
            copied={member: migrated.bytes for member, migrated in own.migrated.items()},
            marks=own.marks,
        )

    async def recover(self, document: Mapping[str, Any]) -> Switched:
        """To its end, whatever that is: whoever began it is gone."""
        group = group_from_json(document["group"])
        if document["strategy"] != Strategy.GROUP.value:
            return await self._where_it_is(group, document["strategy"])
        try:
            return _of_group(await self._mover(lambda _: None).recover(group, "its orchestrator died"))
        except RecoveryError as error:
            return Switched(outcome=UNRESOLVED, reason=str(error))

    def _mover(self, follow: Callable[[sw.State], None]) -> GroupMover:
        def tell(state: sw.State) -> None:
            follow(state)
            self.shown.phase(type(state).__name__.lower())

        journal = self.records.journal(self.move)
        place = self.wired.place
        mover = GroupMover(
            place.service, self.wired.drivers, journal, progress=self.shown.progress, shown=tell, right=self.right
        )
        mover.on_retry = self.shown.phase
        return mover

    @asynccontextmanager
    async def _heard(self, mover: GroupMover) -> AsyncIterator[None]:
        """Meanwhile do what is wished of the move by other processes."""

        async def listen() -> None:
            while True:
                wishes: frozenset[str] = frozenset()
                with suppress(SQLAlchemyError):  # the database is gone for now, and with it what somebody wishes
                    wishes = await asyncio.to_thread(self.records.wishes, self.move)
                if ABORT in wishes:
                    mover.abort("somebody aborted it")
                    return
                if COMMIT in wishes:
                    mover.approve()
                await asyncio.sleep(_LISTEN_S)

        listening = asyncio.create_task(listen(), name=f"wishes of {self.move}")
        try:
            yield
        finally:
            listening.cancel()

    async def _where_it_is(self, group: Group, strategy: str) -> Switched:
        """The hypervisor's own migrations cannot be put back, and need nobody to end: say what came of them."""
        hypervisor = self.wired.hypervisor
        here = [m for m, host in group.sources.items() if await hypervisor.look(m, host) is RunState.RUNNING]
        there = [m for m, host in group.targets.items() if await hypervisor.look(m, host) is RunState.RUNNING]
        reason = f"the orchestrator of a {strategy} move died; such a move has no way back and no commit: " + "; ".join(
            f"on {', '.join(sorted(set(hosts.values())))} run {', '.join(sorted(names)) or 'none'}"
            for hosts, names in ((group.sources, here), (group.targets, there))
        )
        return Switched(outcome=UNRESOLVED, reason=reason)


def _of_group(done: Outcome) -> Switched:
    if isinstance(done.state, sw.Done):
        at = done.state.times
        return Switched(
            outcome="committed",
            problems=done.state.problems,
            unverified=done.state.unverified,
            stopped=at.stopped,
            resumed=at.resumed,
            copied=at.copied,
            marks=done.marks,
        )
    return Switched(outcome="rolled-back", reason=done.state.reason, problems=done.state.problems, marks=done.marks)
