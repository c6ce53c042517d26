"""What is so of one service, read from the view and the memory."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from entourage.model.ids import HostId, MemberId, ServiceId, SiteId, site_of
from entourage.paths import trace
from entourage.ports.hypervisor import RunState
from entourage.rules.memory import Placed
from entourage.rules.rule import Event
from entourage.rules.view import HostState, ServiceView, SiteState, View

NEWS_S = 60.0  # for how long it is news that a member has changed its host


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """An event, and what it is about."""

    event: Event
    member: MemberId | None = None
    host: HostId | None = None
    site: SiteId | None = None

    def __str__(self) -> str:
        """The event, and what it is about if it is about anything."""
        return f"{self.event.value}{f': {self.subject}' if self.subject else ''}"

    @property
    def subject(self) -> str:
        """What it is about, in words; empty if it is about the service as a whole."""
        return " ".join(each for each in (self.member, f"on {self.host}" if self.host else self.site) if each)


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """What the worst of all regions' paths is like; `rtt_ms` is infinite if one is not delivered."""

    rtt_ms: float
    crossings: int
    delivered: bool


class World:
    """What is the same for all services of a view, worked out once."""

    def __init__(self, view: View, zone: tzinfo) -> None:
        self.view = view
        self.now = datetime.fromtimestamp(view.taken_at, tz=zone)
        self.lost_sites = frozenset(site for site, state in view.sites.items() if state is SiteState.LOST)
        self.hosts: dict[HostState, frozenset[HostId]] = {
            state: frozenset(host for host, found in view.hosts.items() if found is state) for state in HostState
        }
        self.paths: dict[object, Path] = {}  # services of the same shape at the same sites have the same


def where_now(seen: ServiceView) -> tuple[dict[MemberId, HostId], tuple[str, ...]]:
    """Where each member is that is at one place; and what is wrong with copies, a sentence each."""
    where = {member: host for (member, host), state in seen.copies.items() if state is RunState.RUNNING}
    members = seen.service.members
    if len(where) == len(seen.copies) == len(members) and not seen.odd and all(each.id in where for each in members):
        return where, ()
    wrong = list(seen.odd)
    known = {member.id for member in members}
    where = {}
    for (member, host), state in seen.copies.items():
        if member not in known:
            wrong.append(f"{member} on {host} is no member of {seen.service.id}")
            continue
        if member in where or state is not RunState.RUNNING:
            hosts = sorted(at for name, at in seen.copies if name == member)
            several = f"{member} has copies on {' and '.join(hosts)}"
            wrong.append(several if len(hosts) > 1 else f"{member} on {host} is {state.value}")
        where.setdefault(member, host)
    return where, tuple(dict.fromkeys(wrong))


def place_again(where: Mapping[MemberId, HostId], seen: ServiceView, placed: Placed | None, elapsed: float) -> Placed:
    """What is remembered of where the members are, now that they were seen at `where`."""
    if placed is not None and placed.where == where:
        if placed.before and elapsed - placed.since > NEWS_S:
            return Placed(where=placed.where, since=placed.since, whole=placed.whole)
        return placed
    is_whole = len(where) == len(seen.service.members) and len({site_of(host) for host in where.values()}) == 1
    before: dict[MemberId, HostId] = {}
    if placed is not None:
        changed = {m: host for m, host in placed.where.items() if where.get(m, host) != host and m not in placed.before}
        before = {**placed.before, **changed}
        # No news is what Entourage did itself, nor a member that is where it was before.
        before = {m: host for m, host in before.items() if where.get(m) not in (seen.put.get(m), host)}
    whole = where if is_whole else (None if placed is None else placed.whole)
    return Placed(where=where, since=elapsed, whole=whole, before=before)


class Facts:
    """One service in one view, with what is remembered of it."""

    def __init__(self, world: World, seen: ServiceView, placed: Placed | None) -> None:
        """`placed`: what is remembered of its places."""
        self.world, self.seen = world, seen
        self.service: ServiceId = seen.service.id
        self.where, self.wrong = where_now(seen)
        self.missing: tuple[MemberId, ...] = ()
        if len(self.where) < len(seen.service.members):
            self.missing = tuple(sorted({member.id for member in seen.service.members} - self.where.keys()))
        self.placed = place_again(self.where, seen, placed, world.view.elapsed)
        self.site = self._belongs_to()
        # The members at another site than the service is.
        self.away: dict[MemberId, HostId] = {}
        if self.where != self.placed.whole:
            self.away = {member: host for member, host in self.where.items() if site_of(host) != self.site}
        self._path: Path | None = None

    def _belongs_to(self) -> SiteId:
        """The site where the service was whole last; before that the one with most of its members, or its home."""
        if self.placed.whole:
            return site_of(next(iter(self.placed.whole.values())))
        counted = Counter(site_of(host) for host in self.where.values())
        most = max(counted.values(), default=0)
        best = sorted(site for site, count in counted.items() if count == most)
        home = self.seen.service.home
        return best[0] if best and home not in best else home

    def ingress(self) -> str:
        """The site at which all users enter; empty if it is not one."""
        entered = set(self.seen.ingress.values())
        return next(iter(entered)) if len(entered) == 1 else ""

    def path(self) -> Path:
        """The worst of all regions' paths."""
        if self._path is None:
            service = self.seen.service
            key = (
                tuple([tuple([self._site_of(member) for member in stage]) for stage in service.chain]),
                tuple([tuple([port.segment for port in member.interfaces]) for member in service.members]),
                tuple(self.seen.ingress.items()),
                tuple(self.seen.stretched.items()),
            )
            known = self.world.paths.get(key)
            if known is None:
                known = self.world.paths[key] = self._traced()
            self._path = known
        return self._path

    def _traced(self) -> Path:
        snapshot = self.world.view.snapshot(self.service, self.where)
        paths = [
            trace(snapshot, region.id, stretched=self.seen.stretched, via=via)
            for region in snapshot.infrastructure.regions
            for via in _alternatives(self.seen.service.chain)
        ]
        return Path(
            rtt_ms=max((math.inf if path.rtt_ms is None else path.rtt_ms for path in paths), default=0.0),
            crossings=max((path.inter_site_crossings for path in paths), default=0),
            delivered=all(path.is_delivered for path in paths),
        )

    def _site_of(self, member: MemberId) -> SiteId | None:
        host = self.where.get(member)
        return None if host is None else site_of(host)


def _alternatives(chain: Sequence[Sequence[MemberId]]) -> list[MemberId | None]:
    """The members that share their stage's load with others, each of which makes a path of its own; else None."""
    return [member for stage in chain if len(stage) > 1 for member in stage] or [None]
