"""What the tests of the commands share: the example's world without a lab, and a way to run a command in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from entourage.cli import failures, labs, looking, moving, realtime, replication, story  # noqa: F401 - loaded first
from entourage.cli.main import app
from entourage.lab.hosted import Hosted
from entourage.lab.kept import Kept, ServiceText
from entourage.lab.place import Lab
from entourage.model.ids import HostId, MemberId, SiteId
from entourage.model.world import Service, Snapshot
from entourage.operations.observe import Observation
from entourage.operations.quorum import SitesSeen
from entourage.paths import to_json, trace
from entourage.planner import MoveRequest, Plan, Refusal, plan
from entourage.ports.hypervisor import Capability, RunState
from entourage.ports.ingress import Announcement, IngressState
from entourage.rules.view import HostState, ServiceView, View
from entourage.spec import load_infrastructure, load_service

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
INFRASTRUCTURE = load_infrastructure(EXAMPLES / "sites.yaml")
SERVICE = load_service(EXAMPLES / "shop.yaml", infrastructure=INFRASTRUCTURE)
EAST, WEST = SiteId("east"), SiteId("west")
HOSTS = {"rt": "h1", "fw": "h1", "lb": "h2", "web1": "h1", "web2": "h2"}


def entourage(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def error_of(result: Result) -> Mapping[str, Any]:
    """The error that a command with --json printed."""
    found: Mapping[str, Any] = json.loads(result.stdout)["error"]
    return found


@dataclass
class FakePlace:
    """As much of a lab as commands look at: a lab, and the place of its first service. No rules are in force there.

    `more`: its other services.
    """

    name: str = "lab1"
    accel: str = "tcg"
    moves_url: str = "sqlite:///moves.sqlite"
    run_dir: Path = Path("run")
    infrastructure: Any = INFRASTRUCTURE
    service: Any = SERVICE
    more: tuple[Service, ...] = ()
    fabric: Any = field(default_factory=SimpleNamespace)

    @property
    def services(self) -> tuple[Kept, ...]:
        """All of them, as a lab keeps them."""
        source = ServiceText(file="shop.yaml", text="")
        hosted = [Hosted(service=each, number=number) for number, each in enumerate((self.service, *self.more))]
        return tuple(Kept(hosted=each, source=source, created=0.0, is_whole=True) for each in hosted)

    @property
    def kept(self) -> Kept:
        """The first."""
        return self.services[0]

    def hosts(self) -> list[HostId]:
        """All hosts of all sites."""
        return [host.id for site in self.infrastructure.sites for host in site.hosts]

    def place(self, service: str | None = None) -> Any:
        """Itself for its first service; for other names, or for none where there are more, what a lab says."""
        made: Any = self
        is_meant = service == self.service.id or (service is None and not self.more)
        return made if is_meant else Lab.place(made, service)


def open_place(name: str, *, service: str | None = None) -> Any:
    """The lab that is up, as its service sees it."""
    return FakePlace(name).place(service)


def seen(**sites: str) -> Observation:
    """Everything at east, but the members that `sites` names."""
    placement = {MemberId(m): HostId(f"{sites.get(m, 'east')}/{host}") for m, host in HOSTS.items()}
    ingress = SiteId(sites.get("rt", "east"))
    snapshot = Snapshot(
        taken_at=0.0,
        infrastructure=INFRASTRUCTURE,
        service=SERVICE,
        placement=placement,
        ingress={region.id: ingress for region in INFRASTRUCTURE.regions},
    )
    edges = {
        site.id: IngressState(announcement=Announcement.ACTIVE if site.id == ingress else Announcement.ABSENT)
        for site in INFRASTRUCTURE.sites
    }
    copies = dict.fromkeys(placement.items(), RunState.RUNNING)
    return Observation(snapshot=snapshot, copies=copies, edges=edges, stretched={})


@dataclass
class FakeWatcher:
    """Rules see the members where `at` has put them, all others at east, and the host "maintained" in maintenance."""

    at: Mapping[str, str] = field(default_factory=dict)
    sites: SitesSeen = field(default_factory=SitesSeen)

    async def look(self) -> View:
        now = seen(**{member: site for member, site in self.at.items() if member != "maintained"})
        left = [HostId(self.at["maintained"])] if "maintained" in self.at else []
        shop = ServiceView(service=SERVICE, copies=now.copies, ingress=now.snapshot.ingress)
        return View(
            taken_at=1.8e9,
            elapsed=1000.0,
            infrastructure=INFRASTRUCTURE,
            services={SERVICE.id: shop},
            hosts=dict.fromkeys(left, HostState.MAINTENANCE),
            loads={host: load for host, load in now.load().items() if host not in left},
            capabilities=frozenset(Capability),
        )

    def forget(self) -> None:
        """It remembers nothing."""


def planned(request: MoveRequest) -> Plan | Refusal:
    everything = frozenset(Capability)
    now = seen()
    return plan(now.snapshot, request, loads=now.load(), capabilities={m.id: everything for m in SERVICE.members})


def document(**changes: Any) -> dict[str, Any]:
    """The report of a group move from east to west."""
    sides = {}
    for side, now in (("before", seen()), ("after", seen(**dict.fromkeys(HOSTS, "west")))):
        regions = {r.id: to_json(trace(now.snapshot, r.id)) for r in INFRASTRUCTURE.regions}
        west = regions[INFRASTRUCTURE.regions[1].id]
        sides[side] = {"hops": west["hops"], "inter_site_crossings": 0, "region": "users-west", "regions": regions}
    return {
        "schema": "entourage.move-report/1", "move": "shop-20260102-030405", "service": "shop", "source": "east",
        "target": "west", "strategy": "group", "outcome": "committed", "reason": None, "problems": [],
        "members": [
            {"name": m.id, "role": m.role.value, "paused_at": 1.0, "resumed_at": 1.2, "pause_ms": 200.0, "bytes": 90}
            for m in SERVICE.members
        ],
        "pause_skew_ms": 2.0, "resume_skew_ms": 8.0, "blackout_ms": 205.0, "split_ms": 0.0, "total_s": 22.0,
        "bytes": 450, "ingress": None,
        "sessions": {"opened": 50, "survived": 50, "reset": 0, "stalled_over_1s": 0},
        "requests": {"before": _requests(60.0, 10.0), "after": _requests(10.0, 60.0)},
        "path": sides, "predicted": {"blackout_ms": 218.0}, "left_over": [],
        "stream": {"longest_gap_ms": 210.0, "lost": 3, "sent": 1000},
        **changes,
    }  # fmt: skip


def _requests(west: float, east: float) -> dict[str, Any]:
    regions = {
        name: {"p50_ms": p50, "p99_ms": 2 * p50, "count": 10, "failed": 0}
        for name, p50 in (("users-west", west), ("users-east", east))
    }
    return {**regions["users-west"], "region": "users-west", "regions": regions}


def example_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For a fixture: root, a lab named lab1 that is up, nothing real behind it, and plain output."""
    plain_output(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("ENTOURAGE_LAB", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)

    async def look(_: str, *, service: str) -> Observation:
        assert service == SERVICE.id
        return seen()

    async def plan_move(_: object, request: MoveRequest) -> Plan | Refusal:
        return planned(request)

    async def close() -> None:
        pass

    monkeypatch.setattr("entourage.cli.looking.look", look)
    monkeypatch.setattr("entourage.cli.looking.plan_move", plan_move)
    monkeypatch.setattr("entourage.operations.recovering.open_moves", lambda _: [])
    monkeypatch.setattr("entourage.cli.recovery.find_owed", lambda _: None)
    monkeypatch.setattr("entourage.cli.moving.wire", lambda *_, **__: SimpleNamespace(close=close))
    for module in ("looking", "moving", "realtime", "replication"):
        monkeypatch.setattr(f"entourage.cli.{module}.open_place", open_place)
    monkeypatch.setattr("entourage.cli.looking.open_lab", FakePlace)


def plain_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a fixture: output as in a pipe, whatever the terminal around the tests is said to be."""
    for name in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a fixture: an ordinary user."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
