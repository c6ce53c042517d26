"""Three sites, services of five members each, and a loop that looks at them: views in, decisions out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from entourage.model.ids import HostId, MemberId, ServiceId, SiteId, site_of
from entourage.model.world import Service
from entourage.planner import HostLoad
from entourage.ports.hypervisor import Capability, RunState
from entourage.rules.deciding import Decided, Decision, began, decide, ended
from entourage.rules.memory import Memory
from entourage.rules.reading import parse_rules
from entourage.rules.rule import RuleSet
from entourage.rules.view import ServiceView, View
from entourage.spec import load_service, parse_infrastructure

SITES = """
sites:
  east: {hosts: {h1: {memory: 2 GiB, cpu: 2}, h2: {memory: 2 GiB, cpu: 2}}}
  west: {hosts: {h1: {memory: 2 GiB, cpu: 2}, h2: {memory: 2 GiB, cpu: 2}}}
  south: {hosts: {h1: {memory: 2 GiB, cpu: 2}, h2: {memory: 2 GiB, cpu: 2}}}
links:
  - {between: [east, west], rtt: 50 ms, rate: 200 Mbit/s, loss: 0 %}
  - {between: [east, south], rtt: 20 ms, rate: 200 Mbit/s, loss: 0 %}
  - {between: [west, south], rtt: 80 ms, rate: 200 Mbit/s, loss: 0 %}
regions:
  users-east: {near: east, rtt: 5 ms}
  users-west: {near: west, rtt: 5 ms}
"""
INFRASTRUCTURE = parse_infrastructure(SITES, file="sites.yaml")
SHOP = load_service(Path(__file__).parents[3] / "examples" / "shop.yaml", infrastructure=INFRASTRUCTURE)
EAST, WEST, SOUTH = SiteId("east"), SiteId("west"), SiteId("south")
MEMBERS = tuple(member.id for member in SHOP.members)
RT, FW, LB, WEB1, WEB2 = MEMBERS
HOSTS = tuple(host.id for site in INFRASTRUCTURE.sites for host in site.hosts)
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()  # a Wednesday

FOLLOW = "follow-server: {when: member-moved, if: member.role == 'server', do: follow}"
Said = tuple[str, str, tuple[str, ...]]  # rule, verdict, reasons


def rules(*lines: str, top: str = "") -> RuleSet:
    """The rules, each written in a line of its own as in a file."""
    text = "\n".join([top, "rules:", *(f"  {line}" for line in lines)])
    return parse_rules(text, file="rules.yaml", infrastructure=INFRASTRUCTURE)


def service(name: str) -> Service:
    """A service like the example's, of another name."""
    return replace(SHOP, id=ServiceId(name))


def placed(**elsewhere: str) -> dict[MemberId, HostId]:
    """Every member on the first host at east, but those that are named: at a site, or on "site/host"."""
    where = {member: elsewhere.get(member, elsewhere.get("all", "east")) for member in MEMBERS}
    return {member: HostId(at if "/" in at else f"{at}/h1") for member, at in where.items()}


def lies(at: Mapping[MemberId, HostId] | None = None, *, named: str = "shop", **seen: Any) -> ServiceView:
    """A service as it is seen: its members run where `at` says, and packets enter beside the router."""
    where = placed() if at is None else at
    entered = site_of(where[RT]) if RT in where else EAST
    return ServiceView(
        **{
            "service": service(named),
            "copies": dict.fromkeys(where.items(), RunState.RUNNING),
            "ingress": {region.id: entered for region in INFRASTRUCTURE.regions},
            **seen,
        }
    )


def view(*seen: ServiceView, elapsed: float = 0.0, taken_at: float = NOON, **more: Any) -> View:
    """All services at one moment, on hosts with room for everything."""
    return View(
        **{
            "taken_at": taken_at,
            "elapsed": elapsed,
            "infrastructure": INFRASTRUCTURE,
            "services": {each.service.id: each for each in seen},
            "loads": {host: HostLoad(memory=0, cpu=0.0) for host in HOSTS},
            "capabilities": frozenset(Capability),
            **more,
        }
    )


def said(decisions: Sequence[Decision]) -> list[Said]:
    return [(each.rule, each.verdict.value, each.reasons) for each in decisions]


@dataclass
class Loop:
    """Looks, and remembers."""

    rules: RuleSet
    elapsed: float = 1000.0
    memory: Memory = field(default_factory=Memory)

    def sees(self, *seen: ServiceView, after: float = 1.0, **more: Any) -> list[Decision]:
        """The decisions, `after` so many seconds."""
        return list(self.looks(*seen, after=after, **more).decisions)

    def looks(self, *seen: ServiceView, after: float = 1.0, **more: Any) -> Decided:
        self.elapsed += after
        decided = decide(view(*(seen or (lies(),)), elapsed=self.elapsed, **more), self.rules, self.memory)
        self.memory = decided.memory
        return decided

    def begins(self, decision: Decision) -> None:
        self.memory = began(self.memory, decision, elapsed=self.elapsed)

    def ends(self, decision: Decision, *, done: bool = True) -> None:
        self.memory = ended(self.memory, decision, elapsed=self.elapsed, done=done)

    def does(self, decision: Decision, *, done: bool = True) -> None:
        self.begins(decision)
        self.ends(decision, done=done)


def after_being_whole(*lines: str, top: str = "") -> Loop:
    """A loop that has seen the service whole at east."""
    loop = Loop(rules(*lines, top=top))
    loop.sees(lies())
    return loop
