"""The world that all in-memory drivers share: what is where, what went wrong, and what was asked of it."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, ServiceId, SiteId, site_of
from entourage.ports.errors import PermanentError
from entourage.ports.hypervisor import Capability, RunState
from entourage.ports.ingress import Announcement, IngressCapability

STEP_S = 0.001  # of the world's time
_EPOCH = 1_000_000.0
_PREFERENCE = {Announcement.STAGED: 1, Announcement.ACTIVE: 2, Announcement.PREFERRED: 3}


@dataclass(slots=True)
class MemoryStream:
    """The state of one member on its way from `source` to `target`. Bytes; `pass_began` in the world's seconds."""

    source: HostId
    target: HostId
    left: int
    copied: int = 0
    passes: int = 0
    held: bool = False
    is_whole: bool = False
    pass_began: float = 0.0
    pace: float = math.inf  # bytes/s
    changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)  # the source stopped, or it broke off


@dataclass(slots=True)
class MemoryCopy:
    """One copy of a member on one host. `stream` is what it sends (at the source) or receives (at the target)."""

    state: RunState
    memory: int
    dirty_rate: float  # bytes/s
    autostart: bool = False
    handed_over: bool = False  # all its state has been sent: it may run again only if the target never does
    stream: MemoryStream | None = None
    paused_at: float | None = None
    resumed_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong in calls of a method: `error` is raised, or with None nobody ever answers.

    With `after` the call has its effect all the same. `calls` is how many calls from `call` on (the first is 1) fail.
    """

    method: str
    error: Exception | None
    call: int = 1
    calls: int = 1
    after: bool = False


@dataclass(slots=True, kw_only=True)
class MemoryWorld:
    """Hosts and regions, and everything that in-memory drivers did to them.

    `violations` has a line for every moment in which a member began to run while another copy of it ran: the one
    thing that must never be. `calls` has every call, as "hypervisor.stop web1 east/h1".
    """

    hosts: tuple[HostId, ...]
    regions: Mapping[RegionId, SiteId]  # each region and the site it is near
    capabilities: frozenset[Capability] = frozenset(Capability)
    ingress_capabilities: frozenset[IngressCapability] = frozenset(IngressCapability)
    bytes_per_step: int = 16 << 20
    dirty_rates: dict[MemberId, float] = field(default_factory=dict)  # bytes/s; in place of the members' own
    slow: dict[str, int] = field(default_factory=dict)  # steps that calls of a method take more before their effect
    still: set[MemberId] = field(default_factory=set)  # write nothing: at the second pass they stop by themselves
    copies: dict[tuple[MemberId, HostId], MemoryCopy] = field(default_factory=dict)
    announcements: dict[tuple[ServiceId, SiteId], Announcement] = field(default_factory=dict)
    tunnels: dict[tuple[ServiceId, SiteId], SiteId] = field(default_factory=dict)
    stretched: dict[tuple[ServiceId, SegmentId], frozenset[SiteId]] = field(default_factory=dict)
    watchers: list[Callable[[], None]] = field(default_factory=list)  # called at every step
    violations: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    now: float = _EPOCH
    _faults: list[Fault] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def sites(self) -> tuple[SiteId, ...]:
        """All sites, in the order of the hosts."""
        return tuple(dict.fromkeys(site_of(host) for host in self.hosts))

    def best_sites(self, service: ServiceId) -> list[SiteId]:
        """The sites whose announcement is preferred over all others: packets enter there."""
        ranks = {site: _PREFERENCE[a] for (name, site), a in self.announcements.items() if name == service}
        return [site for site in self.sites() if ranks and ranks.get(site) == max(ranks.values())]

    def inject(self, *faults: Fault) -> None:
        """Let these faults happen. Calls are counted from now on."""
        self._faults.extend(faults)
        for fault in faults:
            self._counts[fault.method] = 0

    def count(self, method: str) -> int:
        """How often `method` ("hypervisor.stop") has been called."""
        return sum(call.split()[0] == method for call in self.calls)

    @asynccontextmanager
    async def call(self, method: str, *what: str) -> AsyncIterator[None]:
        """Every driver's every call passes here: noted, a step long, and subject to the injected faults."""
        self.calls.append(" ".join((method, *what)))
        number = self._counts[method] = self._counts.get(method, 0) + 1
        fault = next((f for f in self._faults if f.method == method and 0 <= number - f.call < f.calls), None)
        for _ in range(1 + self.slow.get(method, 0)):
            await self.step()
        if fault is not None and not fault.after:
            await _strike(fault)
        yield
        if fault is not None:
            await _strike(fault)

    async def step(self) -> None:
        """Let everybody else act once; a millisecond of the world's time."""
        self.now += STEP_S
        for watcher in self.watchers:
            watcher()
        await asyncio.sleep(0)

    def copy_on(self, member: MemberId, host: HostId) -> MemoryCopy:
        """The member's copy on the host; PermanentError if there is none."""
        self.require_host(host)
        if (member, host) not in self.copies:
            raise PermanentError(f"{member} on {host}: there is no copy of it")
        return self.copies[(member, host)]

    def require_host(self, host: HostId) -> None:
        """PermanentError if there is no such host."""
        if host not in self.hosts:
            raise PermanentError(f"there is no host {host!r}: the hosts are {', '.join(self.hosts)}")

    def require_site(self, site: SiteId) -> None:
        """PermanentError if there is no such site."""
        if site not in self.sites():
            raise PermanentError(f"there is no site {site!r}: the sites are {', '.join(self.sites())}")

    def running(self, member: MemberId) -> list[HostId]:
        """The hosts on which a copy of the member runs: one at the most, or something is badly wrong."""
        return [host for (name, host), copy in self.copies.items() if name == member and copy.state is RunState.RUNNING]

    def run(self, member: MemberId, host: HostId) -> None:
        """Let the copy run: the only way that a copy's CPUs ever start. Notes a violation if another copy runs."""
        others = [other for other in self.running(member) if other != host]
        if others:
            self.violations.append(f"{member} began to run on {host} while it ran on {', '.join(others)}")
        copy = self.copies[(member, host)]
        copy.state, copy.resumed_at, copy.paused_at = RunState.RUNNING, self.now, None

    def pause(self, copy: MemoryCopy) -> None:
        """Let the copy's CPUs stand still."""
        copy.state, copy.paused_at, copy.resumed_at = RunState.PAUSED, self.now, None
        if copy.stream is not None:
            copy.stream.changed.set()

    def break_stream(self, member: MemberId, stream: MemoryStream) -> None:
        """End a copy that is under way; a target that has not got everything is of no use any more."""
        stream.changed.set()
        for host in (stream.source, stream.target):
            copy = self.copies.get((member, host))
            if copy is not None and copy.stream is stream:
                copy.stream = None
                if copy.state is RunState.INCOMING:
                    copy.state = RunState.FAILED

    def traces(self, service: ServiceId, *, members: Iterable[MemberId], home: SiteId) -> list[str]:
        """What there is beside a service at rest at `home`, a line each: empty if nothing is left over."""
        found = []
        for member in members:
            for (name, host), copy in self.copies.items():
                is_copied = copy.stream is not None and not copy.stream.is_whole
                if name == member and (site_of(host) != home or copy.state is not RunState.RUNNING or is_copied):
                    found.append(f"{member} on {host}: {copy.state.value}{', being copied' if is_copied else ''}")
            if not any(site_of(host) == home for host in self.running(member)):
                found.append(f"{member} does not run at {home}")
        for (owner, site), announcement in self.announcements.items():
            if owner == service and (site != home or announcement is not Announcement.ACTIVE):
                found.append(f"{site} announces: {announcement.value}")
        if (service, home) not in self.announcements:
            found.append(f"{home} does not announce")
        found += [f"{site} tunnels to {to}" for (name, site), to in self.tunnels.items() if name == service]
        found += [f"{segment} joins {sorted(at)}" for (name, segment), at in self.stretched.items() if name == service]
        return found


async def _strike(fault: Fault) -> None:
    if fault.error is not None:
        raise fault.error.with_traceback(None)  # the same one may be raised often
    await asyncio.Event().wait()
