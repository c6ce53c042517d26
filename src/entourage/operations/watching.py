"""What rules decide from, looked at again and again: members often, routes and segments less so.

Looks are short and let go of everything between: whoever else looks, or acts, finds every monitor free. While a move
is driven nobody looks: what is paused then is meant to be, and a host has better things to do.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from entourage.lab.errors import LabError
from entourage.lab.place import Lab, Place
from entourage.lab.traffic import carried
from entourage.model.ids import HostId, MemberId, ServiceId, SiteId, site_of
from entourage.operations.driving import is_being_driven
from entourage.operations.licences import view as licences_view
from entourage.operations.maintenance import in_maintenance, usable
from entourage.operations.observe import HALF_MADE, Observation, observe
from entourage.operations.placed import put_by_us
from entourage.operations.quorum import SitesSeen, look_at_quorum, sites_seen
from entourage.operations.replicating import replica_moments
from entourage.paths import trace
from entourage.ports.errors import DriverError
from entourage.ports.hypervisor import Capability, RunState
from entourage.rules.view import HostState, ServiceView, SiteState, View
from entourage.wiring import wire

_STATES_EVERY_S = 2.0  # QEMU is asked so often; whether its process is there is looked at each time
_ROUTES_EVERY_S = 5.0
_USABLE = (None, SiteState.UP)  # of a site without agents nothing is known but what its hosts say
_ANSWERS_WITHIN_S = 3.0  # of one host about one member; later than that it is as good as not at all

Copies = Mapping[tuple[MemberId, HostId], RunState]


@dataclass(slots=True)
class _Watched:
    """One service: what was seen of it last, and when (monotonic clock). `counted`: bytes carried, and when."""

    place: Place
    seen: Observation
    present: frozenset[tuple[MemberId, HostId]]
    states_at: float
    routes_at: float
    broken: tuple[str, ...] = ()
    counted: tuple[float, int] | None = None
    bytes_per_hour: float | None = None
    violations: tuple[str, ...] = ()
    free_licences: int | None = None

    @property
    def is_settled(self) -> bool:
        """Whether every member runs, once."""
        members = len(self.place.service.members)
        return len(self.seen.copies) == members == len(self.seen.snapshot.placement)


@dataclass(slots=True)
class Watcher:
    """One lab, with all of its services."""

    lab: Lab
    sites: SitesSeen = field(default_factory=SitesSeen)
    _watched: dict[ServiceId, _Watched] = field(default_factory=dict)
    _put: Mapping[MemberId, HostId] | None = None

    async def look(self) -> View:
        """The view as it is now. LabError if the lab or its database is gone."""
        elapsed = time.monotonic()
        if not self.lab.run_dir.is_dir():
            raise LabError(f"lab {self.lab.name} is gone")
        self.sites = sites_seen(self.lab, await look_at_quorum(self.lab))
        is_driven = is_being_driven(self.lab)
        if not is_driven or not self._watched:
            self.lab.refresh()
            for kept in self.lab.services:
                await self._look_at(kept.id, elapsed)
            known = {kept.id for kept in self.lab.services}
            self._watched = {service: each for service, each in self._watched.items() if service in known}
            is_driven = is_being_driven(self.lab)
        if self._put is None:
            self._put = await asyncio.to_thread(put_by_us, self.lab)
        return self._view(elapsed, is_moving=is_driven)

    def forget(self) -> None:
        """Look at everything anew the next time: something was changed."""
        self._watched, self._put = {}, None

    async def _look_at(self, service: ServiceId, elapsed: float) -> None:
        known = self._watched.get(service)
        place = self.lab.place(service) if known is None else known.place
        present = await asyncio.to_thread(_present, place)
        if known is not None and present == known.present:
            if known.is_settled and elapsed - known.states_at < _STATES_EVERY_S:
                return
            if elapsed - known.routes_at < _ROUTES_EVERY_S and await _states(place, present) == known.seen.copies:
                known.states_at = elapsed
                return
        wired = wire(place, only_look=True)
        try:
            seen = await asyncio.wait_for(observe(wired), _ANSWERS_WITHIN_S * 2)
        except TimeoutError:
            states = await _states(place, present)  # somebody hangs: who, is in there
            if known is None:
                raise LabError(f"{service} cannot be looked at: {_silent(states) or 'no answer'}") from None
            seen = _with_copies(known.seen, states)
        finally:
            await wired.close()
        watched = _Watched(place=place, seen=seen, present=present, states_at=elapsed, routes_at=elapsed)
        watched.broken = await _broken_promises(place, seen)
        watched.violations, watched.free_licences = await asyncio.to_thread(_licences, place, seen)
        _count(watched, known)
        self._watched[service] = watched

    def _view(self, elapsed: float, *, is_moving: bool) -> View:
        odd = strangers(self.lab, lost=self.sites.lost)
        capabilities = frozenset(Capability) - (set() if self.lab.is_encrypted else {Capability.ENCRYPTED})
        services = {
            service: ServiceView(
                service=each.place.service,
                copies={pair: state for pair, state in each.seen.copies.items() if self._is_heard(pair[1])},
                ingress=each.seen.snapshot.ingress,
                stretched=each.seen.stretched,
                in_use=each.seen.in_use,
                put=self._put or {},
                odd=(*odd, *((HALF_MADE.format(service),) if each.seen.is_half_made else ()), *self._unsure(each)),
                is_moving=is_moving,
                bytes_per_hour=each.bytes_per_hour,
                broken_promises=each.broken,
                licence_violations=each.violations,
                free_licences=each.free_licences,
                # They are asked for by failovers alone, and looked up in files.
                replicas=replica_moments(each.place) if self.sites.lost else {},
            )
            for service, each in self._watched.items()
        }
        loads = next((each.seen.load() for each in self._watched.values()), {})
        loads = {host: load for host, load in loads.items() if self.sites.states.get(site_of(host)) in _USABLE}
        return View(
            taken_at=time.time(),
            elapsed=elapsed,
            infrastructure=self.lab.infrastructure,
            services=services,
            sites=self.sites.states,
            may_act=self.sites.may_act,
            why_not=self.sites.why_not,
            hosts={
                **dict.fromkeys(in_maintenance(self.lab), HostState.MAINTENANCE),
                **dict.fromkeys(self._lost_hosts(), HostState.LOST),
            },
            loads=usable(self.lab, loads),
            capabilities=capabilities,
        )

    def _is_heard(self, host: HostId) -> bool:
        """Whether what is seen on the host counts: of a lost site nothing is known, and nothing runs there."""
        return site_of(host) not in self.sites.lost

    def _lost_hosts(self) -> list[HostId]:
        """Hosts of sites that are up, of which neither the guard answers nor any virtual machine is there."""
        silent = {host for each in self._watched.values() for host in each.seen.unguarded}
        used = {host for each in self._watched.values() for _, host in each.seen.copies}
        return sorted(host for host in silent - used if self.sites.states.get(site_of(host)) is SiteState.UP)

    def _unsure(self, each: _Watched) -> list[str]:
        """The sites of which it is not known what of the service runs there, a sentence each."""
        there = {site_of(host) for _, host in each.seen.copies}
        unreachable = [site for site, state in self.sites.states.items() if state is SiteState.UNREACHABLE]
        return [f"{site} is unreachable: what runs there is not known" for site in unreachable if site in there]


def strangers(lab: Lab, *, lost: frozenset[SiteId] = frozenset()) -> tuple[str, ...]:
    """Virtual machines on the lab's hosts that are members of nothing, a sentence each; not at sites that are lost."""
    known = {member.id for kept in lab.services for member in kept.hosted.service.members}
    found = []
    for host in (host for host in lab.hosts() if site_of(host) not in lost):
        try:
            names = sorted(path.name.removesuffix(".qmp") for path in lab.access(host).run_dir.glob("*.qmp"))
        except OSError as error:
            raise LabError(f"{host} cannot be looked at: {error}") from error
        strange = [name for name in names if name not in known and "." not in name]
        found += [f"{name} on {host} is a member of nothing" for name in strange]
    return tuple(found)


def _present(place: Place) -> frozenset[tuple[MemberId, HostId]]:
    own = {member.id for member in place.service.members}
    return frozenset((member.id, host) for member, host in place.copies() if member.id in own)


async def _states(place: Place, present: frozenset[tuple[MemberId, HostId]]) -> dict[tuple[MemberId, HostId], RunState]:
    wired = wire(place, only_look=True)

    async def state(member: MemberId, host: HostId) -> RunState:
        try:
            return await asyncio.wait_for(wired.hypervisor.look(member, host), _ANSWERS_WITHIN_S)
        except TimeoutError:
            return RunState.FAILED

    try:
        pairs = sorted(present)
        found = await asyncio.gather(*(state(member, host) for member, host in pairs))
        return {pair: each for pair, each in zip(pairs, found, strict=True) if each is not RunState.ABSENT}
    finally:
        await wired.close()


def _silent(states: Copies) -> str:
    return ", ".join(f"{member} on {host}" for (member, host), state in states.items() if state is RunState.FAILED)


def _with_copies(seen: Observation, copies: Copies) -> Observation:
    running = {member: host for (member, host), state in copies.items() if state is RunState.RUNNING}
    return replace(seen, copies=copies, snapshot=replace(seen.snapshot, placement=running))


async def _broken_promises(place: Place, seen: Observation) -> tuple[str, ...]:
    """The members that have not the CPU time that they were promised, a sentence each."""
    promised = [m for m in place.service.members if m.realtime is not None and m.id in seen.snapshot.placement]
    if not promised:
        return ()
    wired = wire(place, only_look=True)
    found = []
    try:
        for host in sorted({seen.snapshot.placement[member.id] for member in promised}):
            kept = await wired.hypervisor.promises(host)
            for member in promised:
                broken = [each for each in kept.get(member.id, ()) if not each.is_kept]
                found += [f"{member.id} on {host}: promised {each.wanted}, has {each.found}" for each in broken]
    except DriverError as error:
        found.append(str(error))
    finally:
        await wired.close()
    return tuple(found)


def _licences(place: Place, seen: Observation) -> tuple[tuple[str, ...], int | None]:
    """What of the service's licences is violated, and the free seats of the fullest pool that it needs."""
    needed = {member.licence for member in place.service.members} - {None}
    found = licences_view(place, seen) if needed else None
    if found is None:
        return (), None
    free = [pool.free for pool in found.account.pools if pool.pool.product in needed]
    violated = tuple(each.reason for each in found.account.violations if each.product in needed)
    return violated, min(free, default=0)


def _count(watched: _Watched, before: _Watched | None) -> None:
    """What the service carries between sites, from what its first stage has carried since it was counted last."""
    seen, service = watched.seen, watched.place.service
    first = [(m, seen.snapshot.placement[m]) for m in service.chain[0] if m in seen.snapshot.placement]
    found = [carried(watched.place, member, host) for member, host in first]
    now = time.monotonic()
    watched.counted = (now, sum(each or 0 for each in found))
    if before is None or before.counted is None:
        return
    watched.bytes_per_hour = before.bytes_per_hour
    since, bytes_before = before.counted
    if watched.counted[1] >= bytes_before and now > since:
        regions = watched.place.infrastructure.regions
        paths = [trace(seen.snapshot, region.id, stretched=seen.stretched) for region in regions]
        there_and_back = sum(path.inter_site_crossings for path in paths) / max(1, len(paths)) / 2
        watched.bytes_per_hour = (watched.counted[1] - bytes_before) / (now - since) * 3600 * there_and_back
