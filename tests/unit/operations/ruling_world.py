"""The loop of rules with nothing real around it but its records: a world that tests change, and a clock of its own."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from entourage.drivers.decisions import DecisionRecords, KeptDecision
from entourage.drivers.records import sqlite_url
from entourage.model.ids import HostId, MemberId, ServiceId, SiteId, site_of
from entourage.operations.interruption import Interruption
from entourage.operations.quorum import SitesSeen
from entourage.operations.rule_files import kept_memory
from entourage.operations.ruling import Ruling
from entourage.operations.tell import Silent
from entourage.planner import HostLoad, MoveRequest
from entourage.planner.failover import FailoverPlan
from entourage.ports.hypervisor import Capability, RunState
from entourage.rules.reading import parse_rules
from entourage.rules.view import ServiceView, SiteState, View
from entourage.spec import load_infrastructure, load_service

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
INFRASTRUCTURE = load_infrastructure(EXAMPLES / "sites.yaml")
SHOP = load_service(EXAMPLES / "shop-replicated.yaml", infrastructure=INFRASTRUCTURE)
EAST, WEST = SiteId("east"), SiteId("west")
MODULE = "entourage.operations.ruling"
HOOK = "webhooks: {ops: {url: 'http://127.0.0.1:9/'}}"
COMMAND = "commands: {page: [/usr/local/bin/page]}"
FOLLOW = "follow: {when: member-moved, if: member.role == 'server', do: follow}"
TELL = "tell: {when: member-moved, do: notify, webhook: ops}"
PAGE = "page: {when: member-moved, do: run, command: page}"
OVER = "over: {when: site-lost, do: fail-over}"
PLAN = FailoverPlan(
    service=ServiceId("shop"),
    lost=EAST,
    target=WEST,
    placement={MemberId("web1"): HostId("west/h1")},
    data={MemberId("web1"): 900.0},
    ingress_first=False,
)
REPORT = {"outcome": "committed", "reason": None, "move": "shop-1", "total_s": 20.0, "predicted": {"total_s": 21.0}}


class Noting(Silent):
    """Keeps what it is told to be read."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class World:
    """Services at east; what is asked of it is done at once, unless the test says otherwise."""

    monkeypatch: pytest.MonkeyPatch
    folder: Path
    now: float = 1000.0
    at: dict[str, str] = field(default_factory=dict)  # where members are that are not at east
    put: dict[str, Mapping[MemberId, HostId]] = field(default_factory=dict)  # by service, where a move has put members
    names: list[str] = field(default_factory=lambda: ["shop"])
    seen: dict[str, Any] = field(default_factory=dict)  # of the view
    sites: SitesSeen = field(default_factory=SitesSeen)
    looks: int = 0
    forgotten: int = 0
    moved: list[tuple[float, str, str]] = field(default_factory=list)
    requests: list[MoveRequest] = field(default_factory=list)  # of the moves
    failed_over: list[Any] = field(default_factory=list)
    told: list[tuple[int, str]] = field(default_factory=list)  # webhooks: number, rule
    commands: list[tuple[str, ...]] = field(default_factory=list)
    recovered: int = 0
    others_drive: int = 0  # looks after which a move that another process drives has ended
    moves: list[Any] = field(default_factory=list)
    news: list[Mapping[str, Any]] = field(default_factory=list)
    notes: Noting = field(default_factory=Noting)
    on_take_over: Callable[[], None] | None = None
    on_move: Callable[[], dict[str, Any]] | None = None
    on_failover: Callable[[], dict[str, Any]] | None = None
    on_notify: Callable[[int], Any] | None = None

    def __post_init__(self) -> None:
        self.lab: Any = SimpleNamespace(
            name="lab1",
            run_dir=self.folder,
            infrastructure=INFRASTRUCTURE,
            services=[SimpleNamespace(id=ServiceId("shop"), hosted=SimpleNamespace(service=SHOP), is_whole=True)],
            place=lambda service: SimpleNamespace(service=replace(SHOP, id=service)),
        )
        self.records = DecisionRecords(sqlite_url(self.folder / "moves.sqlite"))
        clock = SimpleNamespace(monotonic=lambda: self.now, time=time.time)
        for name, part in {
            "time": clock, "LOOK_EVERY_S": 0.001, "run_move": self._run_move, "fail_over": self._fail_over,
            "notify": self._notify, "run_command": self._run_command, "take_over_all": self._take_over,
            "wire": lambda *_, **__: SimpleNamespace(close=self._close), "all_moves": lambda _: self.moves,
            "is_being_driven": lambda _: self.others_drive > 0 and self._driven(),
            "write_move": lambda *_: None, "write_failover": lambda *_: None,
        }.items():  # fmt: skip
            self.monkeypatch.setattr(f"{MODULE}.{name}", part)

    def run(
        self,
        *rules: str,
        top: str = "",
        after: Iterable[float] = (1.0,),
        then: Callable[[int], None] | None = None,
        once: bool = False,
        **ruling: bool,
    ) -> None:
        """Look so many seconds after each other, then end. `then` is called before each look with its number."""
        text = "\n".join([top, "rules:", *(f"  {line}" for line in rules)])
        steps = iter(after)

        async def work() -> None:
            interruption = Interruption()
            world = self

            class Watcher:
                def __init__(self, lab: Any) -> None:
                    assert lab is world.lab
                    self.sites = world.sites

                async def look(self) -> View:
                    step = next(steps, None)
                    if step is None:
                        self.sites = SitesSeen()
                        interruption.ask("the test is over")
                        return world.view(empty=True)
                    world.now += step
                    world.looks += 1
                    if then is not None:
                        then(world.looks)
                    self.sites = world.sites
                    return world.view()

                def forget(self) -> None:
                    world.forgotten += 1

            self.monkeypatch.setattr(f"{MODULE}.Watcher", Watcher)
            loop = Ruling(
                lab=self.lab,
                rules=parse_rules(text, file="rules.yaml", infrastructure=INFRASTRUCTURE),
                records=self.records,
                tell=self.notes,
                told=self.news.append,
                out=self.folder,
                acts=ruling.get("acts", True),
                replicates=ruling.get("replicates", False),
                memory=kept_memory(self.lab),
            )
            await loop.run(interruption, once=once)

        asyncio.run(work())

    def unfinished(self, action: str, **more: Any) -> int:
        """A decision that a run that is gone had begun to act on; its number."""
        document = {"rule": "gone", "service": "shop", "verdict": "do", "action": action, "reasons": [], **more}
        return self.records.keep("shop", document)

    def where(self) -> dict[MemberId, HostId]:
        """Where each member is now."""
        return {member.id: HostId(f"{self.at.get(member.id, 'east')}/h1") for member in SHOP.members}

    def view(self, *, empty: bool = False) -> View:
        """The world as it is."""
        where = self.where()
        lost = self.sites.lost
        copies = {(m, host): RunState.RUNNING for m, host in where.items() if site_of(host) not in lost}
        services = {
            ServiceId(name): ServiceView(
                service=replace(SHOP, id=ServiceId(name)),
                copies=copies,
                ingress={region.id: EAST for region in INFRASTRUCTURE.regions},
                put=self.put.get(name, {}),
                replicas={(MemberId(web), HostId("west/h1")): 900.0 for web in ("web1", "web2")},
            )
            for name in self.names
        }
        return View(
            **{
                "taken_at": 1.8e9 + self.now,
                "elapsed": self.now,
                "infrastructure": INFRASTRUCTURE,
                "services": {} if empty else services,
                "sites": self.sites.states,
                "may_act": self.sites.may_act,
                "loads": {h.id: HostLoad(memory=0, cpu=0.0) for site in INFRASTRUCTURE.sites for h in site.hosts},
                "capabilities": frozenset(Capability),
                **self.seen,
            }
        )

    def lose_east(self, **more: Any) -> None:
        """East is lost, and west may act for it."""
        states = {EAST: SiteState.LOST, WEST: SiteState.UP}
        self.sites = SitesSeen(states=states, may_act={EAST: frozenset({WEST})}, **more)

    def kept(self) -> list[KeptDecision]:
        """The decisions, the first one first."""
        return self.records.latest(most=10_000)[::-1]

    def said(self) -> list[tuple[str, str, str | None]]:
        """Of each decision its rule, its verdict and what came of it."""
        return [
            (each.document["rule"], each.document["verdict"], None if each.outcome is None else each.outcome["outcome"])
            for each in self.kept()
        ]

    def _driven(self) -> bool:
        self.others_drive -= 1
        return True

    async def _close(self) -> None:
        pass

    async def _take_over(self, *_: Any) -> None:
        if all(move.ended is not None for move in self.moves):
            return
        if self.on_take_over is not None:
            self.on_take_over()
        self.recovered += 1

    async def _run_move(self, _: Any, request: Any, **__: Any) -> dict[str, Any]:
        self.moved.append((self.now, request.service, request.target))
        self.requests.append(request)
        report = REPORT if self.on_move is None else self.on_move()
        if report["outcome"] == "committed":
            self.put[request.service] = self.where()
        return report

    async def _fail_over(self, _: Any, plan: Any, **__: Any) -> dict[str, Any]:
        self.failed_over.append(plan)
        report = {"outcome": "failed-over", "problems": [], "lost": plan.lost, "placement": dict(plan.placement)}
        return report if self.on_failover is None else self.on_failover()

    async def _notify(self, _: Any, *, lab: str, number: int, decision: Mapping[str, Any]) -> dict[str, Any]:
        assert lab == "lab1"
        self.told.append((number, decision["rule"]))
        if self.on_notify is not None:
            outcome: dict[str, Any] = await self.on_notify(number)
            return outcome
        return {"outcome": "delivered", "attempts": 1}

    async def _run_command(self, words: tuple[str, ...], **_: Any) -> dict[str, Any]:
        self.commands.append(words)
        return {"outcome": "done", "said": "paged"}
