"""Rules that would move a service back and forth: found by letting them act in thought.

From each way in which a service can lie, whole or split, the rules decide as they would, one move after another, with
nothing happening from outside and the time of day standing still. A service that comes to lie as it did before would
never rest, and one that is moved to where it had just been moved away from was moved for nothing. Holds and limits only
make that slower.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product

from entourage.model.ids import HostId, MemberId, SiteId, site_of
from entourage.model.world import Infrastructure, Role, Service
from entourage.planner import HostLoad
from entourage.ports.hypervisor import Capability, RunState
from entourage.rules.deciding import Decision, Verdict, decide
from entourage.rules.memory import Memory
from entourage.rules.rule import Limit, RuleSet
from entourage.rules.view import HostState, ServiceView, View

_MOST_STEPS = 12
_MUCH = 1e15  # bytes in an hour: above any bound
_MONDAY = datetime(2024, 1, 1)  # noqa: DTZ001 - in whatever zone the rules have
_Places = dict[MemberId, HostId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """Moves that undo each other: `rules` by name, in turn, and the sites that each moves to.

    `is_endless`: they would follow each other for ever.
    """

    service: str
    rules: tuple[str, ...]
    sites: tuple[SiteId, ...]
    is_endless: bool = True

    def __str__(self) -> str:
        moves = ", ".join(f"{rule} moves it to {site}" for rule, site in zip(self.rules, self.sites, strict=True))
        if self.is_endless:
            return f"{self.service} would never rest: {moves}, and so on"
        return f"{self.service} would be moved back and forth: {moves}"


def find_cycle(rules: RuleSet, infrastructure: Infrastructure, service: Service) -> Cycle | None:
    """The first cycle that the rules would make of the service; None if there is none."""
    moving = tuple(replace(rule, hold_s=0.0, limit=Limit()) for rule in rules.rules if rule.is_for(service.id))
    if not any(rule.do.act.moves for rule in moving):
        return None
    ours = replace(rules, rules=moving)
    roomy = _roomy(infrastructure)
    for at, bytes_per_hour, hosts in product(_times(ours), _traffic(ours), _maintenance(ours, infrastructure)):
        thought = _Thought(ours, roomy, service, at=at, bytes_per_hour=bytes_per_hour, hosts=hosts)
        for home, places in _ways_to_lie(infrastructure, service):
            cycle = thought.follow(home, places)
            if cycle is not None:
                return cycle
    return None


class _Thought:
    """The rules left alone with one service, at a time of day that stands still."""

    def __init__(
        self,
        rules: RuleSet,
        infrastructure: Infrastructure,
        service: Service,
        *,
        at: float,
        bytes_per_hour: float,
        hosts: dict[HostId, HostState],
    ) -> None:
        self._rules, self._infrastructure, self._service = rules, infrastructure, service
        self._at, self._bytes, self._hosts = at, bytes_per_hour, hosts

    def follow(self, home: _Places, places: _Places) -> Cycle | None:
        """What comes of it if the service was whole at `home` and lies at `places` now."""
        memory = decide(self._view(home, elapsed=0.0), self._rules, Memory()).memory
        seen: list[_Places] = []
        moves: list[Decision] = []
        for step in range(1, _MOST_STEPS):
            decided = decide(self._view(places, elapsed=step * 1e6), self._rules, memory)
            memory = decided.memory
            if places in seen:
                since = moves[seen.index(places) :]
                return Cycle(
                    service=self._service.id,
                    rules=tuple(each.rule for each in since),
                    sites=tuple(each.target for each in since if each.target is not None),
                )
            turned = self._turned_back(site_of(home[self._service.chain[0][0]]), moves)
            if turned is not None:
                return turned
            act = next((each for each in decided.decisions if each.verdict is Verdict.DO and each.target), None)
            if act is None or act.target is None:
                return None
            seen.append(places)
            moves.append(act)
            places = self._after(places, act)
        return None

    def _after(self, places: _Places, act: Decision) -> _Places:
        """Where the members lie when it is done: on the first host there that may be used."""
        assert act.target is not None
        hosts = [host.id for host in self._infrastructure.site(act.target).hosts if host.id not in self._hosts]
        if act.leaves is not None:
            return {m: hosts[0] if at == act.leaves else at for m, at in places.items()}
        going = places.keys() if act.members is None else act.members
        return {m: hosts[0] if m in going and site_of(at) != act.target else at for m, at in places.items()}

    def _turned_back(self, home: SiteId, moves: Sequence[Decision]) -> Cycle | None:
        """Whole moves away from a site and back to it. One that flees from a host in maintenance is not for nothing."""
        sites = [move.target for move in moves if move.target is not None]
        if len(sites) < 2 or self._hosts or sites[-1] not in [home, *sites[:-2]] or sites[-1] == sites[-2]:
            return None
        return Cycle(
            service=self._service.id,
            rules=tuple(move.rule for move in moves),
            sites=tuple(sites),
            is_endless=False,
        )

    def _view(self, places: _Places, *, elapsed: float) -> View:
        first = site_of(places[self._service.chain[0][0]])
        return View(
            taken_at=self._at,
            elapsed=elapsed,
            infrastructure=self._infrastructure,
            services={
                self._service.id: ServiceView(
                    service=self._service,
                    copies=dict.fromkeys(places.items(), RunState.RUNNING),
                    ingress={region.id: first for region in self._infrastructure.regions},
                    stretched={s.id: _all_sites(self._infrastructure) for s in self._service.segments if not s.gateway},
                    bytes_per_hour=self._bytes,
                )
            },
            hosts=self._hosts,
            loads={
                host.id: HostLoad(memory=0, cpu=0.0)
                for site in self._infrastructure.sites
                for host in site.hosts
                if host.id not in self._hosts
            },
            capabilities=frozenset(Capability),
        )


def _ways_to_lie(infrastructure: Infrastructure, service: Service) -> Iterator[tuple[_Places, _Places]]:
    """Whole at each site; and from there with one of its members, or all of a role, at another one."""
    groups = [{member.id} for member in service.members]
    groups += [{member.id for member in service.of_role(role)} for role in Role if len(service.of_role(role)) > 1]
    for site in infrastructure.sites:
        home: _Places = {member.id: site.hosts[0].id for member in service.members}
        yield home, home
        for other in infrastructure.sites:
            if other is not site:
                for group in groups:
                    yield home, {m: other.hosts[0].id if m in group else host for m, host in home.items()}


def _times(rules: RuleSet) -> list[float]:
    """Moments that differ in what the rules can tell of the clock: about numbers in expressions, in windows and out."""
    clocks = [rule.condition for rule in rules.rules if rule.condition is not None]
    names = {name for each in clocks for name in each.names}
    near = {int(number) + step for each in clocks for number in each.numbers for step in (-1, 0, 1)} | {0}
    windows = [window for rule in rules.rules for window in (*rule.within, *((rule.at,) if rule.at else ()))]
    hours = {hour for hour in near if 0 <= hour < 24} if names & {"now.hour", "now.minute"} else {0}
    minutes = {60 * hour for hour in hours} | {each % 1440 for w in windows for each in (w.start, w.end)}
    days = {day for day in near if 0 <= day < 7} if "now.weekday" in names else {0}
    days |= {min(window.days) for window in windows}
    days |= {min(out) for window in windows if (out := frozenset(range(7)) - window.days)}
    monday = _MONDAY.replace(tzinfo=rules.zone)
    return [
        (monday + timedelta(days=day, minutes=each)).timestamp() for day in sorted(days) for each in sorted(minutes)
    ]


def _traffic(rules: RuleSet) -> tuple[float, ...]:
    """Bytes in an hour: none, and, if rules look at them, more than any bound."""
    looks = any(rule.condition and "path.bytes_per_hour" in rule.condition.names for rule in rules.rules)
    return (0.0, _MUCH) if looks else (0.0,)


def _maintenance(rules: RuleSet, infrastructure: Infrastructure) -> list[dict[HostId, HostState]]:
    """No host in maintenance, and, if rules look at that, the first and all of each site."""
    if not any(rule.when.value.startswith("host") for rule in rules.rules):
        return [{}]
    several = [site.hosts[:count] for site in infrastructure.sites for count in sorted({1, len(site.hosts)})]
    return [{}, *({host.id: HostState.MAINTENANCE for host in hosts} for hosts in several)]


def _all_sites(infrastructure: Infrastructure) -> frozenset[SiteId]:
    return frozenset(site.id for site in infrastructure.sites)


def _roomy(infrastructure: Infrastructure) -> Infrastructure:
    """As it is, with room for anything: that a move has no room today stops no cycle tomorrow."""
    sites = tuple(
        replace(site, hosts=tuple(replace(host, memory=1 << 50, cpu=1e6, realtime=None) for host in site.hosts))
        for site in infrastructure.sites
    )
    return replace(infrastructure, sites=sites)
