"""The simulated world: what is where, what may never be, and calls that take time and go wrong.

Whatever changes passes one of the methods under *what changes*, and each of them checks what may never be.
"""

from asyncio import CancelledError, Future
from collections.abc import Callable, Iterable
from random import Random
from typing import TypeVar

from entourage.model.ids import HostId, MemberId, SegmentId, SiteId, site_of
from entourage.ports.errors import DriverError, OutcomeUnknownError, PermanentError, TemporaryError
from entourage.ports.hypervisor import RunState
from entourage.ports.ingress import Announcement
from entourage.ports.journal import Decision
from entourage.twin.faults import Fault, FaultKind
from entourage.twin.loop import Process, VirtualLoop
from entourage.twin.parts import Copy, HostGuard, Scenario

_T = TypeVar("_T")

PREFERENCE = {Announcement.STAGED: 1, Announcement.ACTIVE: 2, Announcement.PREFERRED: 3}
JOURNAL = "journal"
_ORDER_S = 1e-6  # between two requests to the same one: they are never at the same moment
_RUNNING, _PAUSED = RunState.RUNNING, RunState.PAUSED
_REFUSED_AT_ONCE: dict[FaultKind | None, Callable[[], Exception]] = {
    FaultKind.CALL_BUSY: lambda: TemporaryError("busy", delay=0.2),
    FaultKind.CALL_REFUSED: lambda: PermanentError("refused"),
    FaultKind.CALL_CRASHES: lambda: KeyError("what a driver never raises"),
}


class World:
    """Everything outside of the orchestrators. Times are the loop's virtual seconds."""

    def __init__(self, loop: VirtualLoop, scenario: Scenario, chance: Random, *, is_move: bool = True) -> None:
        """`is_move` is False for one who tries the drivers alone: then only what holds without a move is checked."""
        self.loop = loop
        self.scenario = scenario
        self.chance = chance
        self.is_move = is_move
        self.copies: dict[tuple[MemberId, HostId], Copy] = {}
        self.devices: set[tuple[MemberId, HostId]] = set()  # what a copy is plugged in with, and may be left over
        self.announced: dict[SiteId, Announcement] = {}
        self.tunnels: dict[SiteId, SiteId] = {}
        self.stretched: dict[SegmentId, frozenset[SiteId]] = dict(scenario.stretched)
        self.guards = {host: HostGuard(host) for host in scenario.hosts}
        self.entries: list[str] = []
        self.decision: Decision | None = None
        self.sites = tuple(dict.fromkeys(site_of(host) for host in scenario.hosts))
        self.bgp_down_until: dict[SiteId, float] = {}
        self.journal_down_until = 0.0
        self.journal_unknown: list[bool] = []  # for each of the next calls that is not told: is it done?
        self.late_until = 0.0
        self.link_cut_until = 0.0
        self.link_slow_until = 0.0
        self.lost: set[tuple[MemberId, HostId]] = set()  # copies whose VM was killed
        self.lost_running: set[tuple[MemberId, HostId]] = set()  # those of them that ran then
        self.unguardable: set[MemberId] = set()  # the last that was asked of their guards was to be armed, and failed
        self.disarmed: set[MemberId] = set()  # guards that were asked to act no more
        self.violations: list[str] = []
        self.log: list[tuple[float, str, str]] = []
        self.calls = 0
        self.is_over = False
        self.ended: Future[None] | None = None  # done at the first violation
        self.begin: Callable[[int, Client], None] = lambda _number, _client: None  # faults that begin with a call
        self.on_paused: Callable[[Copy], None] = lambda _copy: None
        self.striking: list[tuple[Fault, int]] = []
        self.outage_began: float | None = None
        self.longest_outage_s = 0.0
        self._free_at: dict[str, float] = {}
        self._at_target = scenario.group.target_site

    def note(self, who: str, what: str) -> None:
        """A line of the log."""
        self.log.append((self.loop._now, who, what))

    def violate(self, what: str) -> None:
        """What may never be has been."""
        self.note("VIOLATION", what)
        self.violations.append(what)
        if self.ended is not None and not self.ended.done():
            self.ended.set_result(None)

    # --- calls ----------------------------------------------------------------------------------------------------

    def send(self, client: "Client", endpoint: str, effect: Callable[[], object], answer: "Future[object]") -> None:
        """A request on its way: it arrives, has its effect, and is answered; unless a fault strikes."""
        loop, now = self.loop, self.loop._now
        fault = self._strike() if self.striking else None
        kind = fault.kind if fault is not None else None
        if fault is not None:
            self.note("fault", f"strikes: {fault.kind.value}")
        if kind is FaultKind.CALL_LOST:
            return
        way = self._way()
        if kind in _REFUSED_AT_ONCE:
            loop.call_at(now + 2 * way, _answer, answer, None, _REFUSED_AT_ONCE[kind]())
            return
        arrival = max(now + way, self._free_at.get(endpoint, 0.0) + _ORDER_S)
        if fault is not None and kind is FaultKind.CALL_LATE:
            arrival = max(arrival, now + fault.for_s)
            self.late_until = max(self.late_until, arrival)
        if self.link_cut_until > now and self.scenario.link_carries_control and endpoint.startswith(self._at_target):
            arrival = max(arrival, self.link_cut_until + way)
        self._free_at[endpoint] = arrival
        loop.call_at(arrival, self._arrive, client, endpoint, effect, answer, kind)

    def _arrive(
        self,
        client: "Client",
        endpoint: str,
        effect: Callable[[], object],
        answer: "Future[object]",
        kind: FaultKind | None,
    ) -> None:
        if self.is_over:
            return
        error: Exception | None = None
        result: object = None
        try:
            if endpoint == JOURNAL:
                self._journal_fault(effect)
            result = effect()
        except DriverError as raised:
            error = raised
            self.note(client.name, f"  refused: {error}")
        if kind is FaultKind.CALL_SILENT:
            return
        if kind is FaultKind.CALL_UNKNOWN:
            error = OutcomeUnknownError("no reply came")
        self.loop.call_at(self.loop._now + self._way(), _answer, answer, result, error)

    def _journal_fault(self, effect: Callable[[], object]) -> None:
        if self.journal_down_until > self.loop.time():
            raise TemporaryError("the journal's storage does not answer", delay=0.5)
        if self.journal_unknown:
            if self.journal_unknown.pop():
                effect()
            raise OutcomeUnknownError("an error of the journal's storage")

    def _way(self) -> float:
        """How long a message takes one way."""
        half = self.scenario.latency_s / 2
        spread = self.scenario.latency_spread
        return half * (1 + spread * (2 * self.chance.random() - 1)) if spread else half

    def _strike(self) -> Fault:
        fault, calls = self.striking.pop(0)
        if calls > 1:
            self.striking.insert(0, (fault, calls - 1))
        return fault

    # --- what is ----------------------------------------------------------------------------------------------------

    def copy_on(self, member: MemberId, host: HostId) -> Copy:
        """The member's copy on the host; PermanentError if there is none."""
        self.require_host(host)
        copy = self.copies.get((member, host))
        if copy is None:
            raise PermanentError(f"{member} on {host}: there is no copy of it")
        return copy

    def require_host(self, host: HostId) -> None:
        """PermanentError if there is no such host."""
        if host not in self.guards:
            raise PermanentError(f"there is no host {host!r}: the hosts are {', '.join(self.guards)}")

    def require_sites(self, *sites: SiteId) -> None:
        """PermanentError if one of the sites is not there."""
        for site in sites:
            if site not in self.sites:
                raise PermanentError(f"there is no site {site!r}: the sites are {', '.join(self.sites)}")

    def is_committed(self) -> bool:
        """Whether the commit is on stable storage."""
        return self.decision is Decision.COMMIT

    def heard(self) -> dict[SiteId, Announcement]:
        """What the provider has heard: nothing of a site whose session is down."""
        now = self.loop.time()
        return {site: kind for site, kind in self.announced.items() if self.bgp_down_until.get(site, 0.0) <= now}

    def best_sites(self) -> list[SiteId]:
        """The sites whose announcement is preferred over all others: packets enter there."""
        heard = self.heard()
        best = max((PREFERENCE[kind] for kind in heard.values()), default=0)
        return [site for site in self.sites if site in heard and PREFERENCE[heard[site]] == best]

    def running(self, member: MemberId) -> list[HostId]:
        """Where a copy of the member runs: one host at the most, or something is badly wrong."""
        return [copy.host for copy in self._copies_of(member) if copy.state is _RUNNING]

    def troubles(self) -> list[str]:
        """Why a request of a user would not be answered now."""
        members = [member.id for member in self.scenario.service.members]
        found = [f"{member} runs on {len(h)} hosts" for member in members if len(h := self.running(member)) != 1]
        if found:
            return found
        at = {member: site_of(self.running(member)[0]) for member in members}
        for segment in self.scenario.service.segments:
            on_it = (m.id for m in self.scenario.service.members if any(i.segment == segment.id for i in m.interfaces))
            apart = {at[member] for member in on_it}
            if len(apart) > 1 and not apart <= self.stretched.get(segment.id, frozenset()):
                found.append(f"{segment.id} joins members at {', '.join(sorted(apart))}, unstretched")
        entered = self.best_sites()
        if not entered:
            found.append("no site announces the prefix")
        first = at[self.scenario.service.chain[0][0]]
        ends = {site: self.tunnels.get(site, site) for site in entered}
        return found + [f"packets that enter at {site} end at {to}" for site, to in ends.items() if to != first]

    def _copies_of(self, member: MemberId) -> Iterable[Copy]:
        return [copy for (name, _), copy in self.copies.items() if name == member]

    # --- what changes -----------------------------------------------------------------------------------------------

    def put(self, copy: Copy) -> None:
        """A new copy."""
        self.copies[(copy.member, copy.host)] = copy
        self.devices.add((copy.member, copy.host))

    def run(self, copy: Copy, *, by: str) -> None:
        """Let its CPUs run: nothing else ever does."""
        self.note(by, f"  {copy.member} runs on {copy.host}")
        for other in self._copies_of(copy.member):
            if other is not copy and other.state is _RUNNING:
                self.violate(f"{copy.member} began to run on {copy.host} while it ran on {other.host}")
            if other is not copy and other.state is _PAUSED and other.version > copy.version:
                self.violate(f"{copy.member} began to run on {copy.host} with a state that is not the latest")
        group = self.scenario.group
        if self.is_move and copy.member in group.sources:
            if copy.host == group.targets[copy.member] and not self.is_committed():
                self.violate(f"{copy.member} runs at the target, and the commit is not recorded")
            if copy.host == group.sources[copy.member] and self.is_committed():
                self.violate(f"{copy.member} runs at the source, and the commit is recorded")
        copy.state, copy.resumed_at, copy.paused_at = _RUNNING, self.loop.time(), None
        copy.version += 1
        self.served()

    def pause(self, copy: Copy, *, by: str) -> None:
        """Let its CPUs stand still. At the source somebody must be there who would let them run again."""
        self.note(by, f"  {copy.member} stands still on {copy.host}")
        copy.state, copy.paused_at, copy.resumed_at = _PAUSED, self.loop.time(), None
        if self.is_move and not self.is_committed() and self.scenario.group.sources.get(copy.member) == copy.host:
            guard = self.guards[copy.host]
            if copy.member not in guard.armed and copy.member not in self.disarmed and not guard.was_killed:
                self.violate(f"{copy.member} stands still on {copy.host}, and no guard is armed for it")
        self.on_paused(copy)
        self.served()

    def take(self, copy: Copy, *, by: str) -> None:
        """The copy is gone: on purpose, so there must be a better one."""
        self.note(by, f"  {copy.member} is gone from {copy.host}")
        del self.copies[(copy.member, copy.host)]
        group = self.scenario.group
        if self.is_move and copy.member in group.sources:
            is_source = copy.host == group.sources[copy.member]
            keep = group.targets[copy.member] if is_source else group.sources[copy.member]
            if is_source and not self.is_committed():
                self.violate(f"{copy.member} was removed from the source, and the commit is not recorded")
            elif not is_source and self.is_committed():
                self.violate(f"{copy.member} was removed from the target, and the commit is recorded")
            elif is_source and keep not in self.running(copy.member) and (copy.member, keep) not in self.lost_running:
                self.violate(f"{copy.member} was removed from the source before it runs at the target")
        self.served()

    def lose(self, copy: Copy) -> None:
        """Its VM is killed: no fault of anybody here."""
        self.note("fault", f"  the VM of {copy.member} on {copy.host} is gone")
        del self.copies[(copy.member, copy.host)]
        self.lost.add((copy.member, copy.host))
        if copy.state is _RUNNING:
            self.lost_running.add((copy.member, copy.host))
        copy.state = RunState.FAILED
        self.served()

    def announce(self, site: SiteId, announcement: Announcement, *, by: str) -> None:
        """What the site's edge announces."""
        self.note(by, f"  {site} announces: {announcement.value}")
        early = self.is_move and site == self._at_target and not self.is_committed()
        if early and announcement in (Announcement.ACTIVE, Announcement.PREFERRED):
            self.violate(f"{site} attracts users, and the commit is not recorded")
        if announcement is Announcement.ABSENT:
            self.announced.pop(site, None)
        else:
            self.announced[site] = announcement
        self.served()

    def decide(self, decision: Decision, *, by: str) -> Decision:
        """Write the decision if none stands. At a commit everybody stands still, and is whole at the target."""
        if self.decision is None:
            self.note(by, f"  decided: {decision.value}")
            if decision is Decision.COMMIT:
                self._check_commit()
            self.decision = decision
        return self.decision

    def _check_commit(self) -> None:
        group = self.scenario.group
        for member in group.order:
            here, there = group.sources[member], group.targets[member]
            source, target = self.copies.get((member, here)), self.copies.get((member, there))
            if member in self.guards[here].armed and self.guards[here].is_alive:
                self.violate(f"committed, and the guard of {here} could still run {member}")
            if (source is None and (member, here) not in self.lost) or (source and source.state is not _PAUSED):
                self.violate(f"committed, and {member} does not stand still at the source")
            if (target is None and (member, there) not in self.lost) or (target and target.state is not _PAUSED):
                self.violate(f"committed, and {member} is not whole at the target")
            if source is not None and target is not None and source.version != target.version:
                self.violate(f"committed, and {member} has run at the source since it was copied")

    def served(self) -> None:
        """Look whether users are served now, and keep the longest time that they were not."""
        if not self.is_move:
            return
        if self.troubles():
            if self.outage_began is None:
                self.outage_began = self.loop.time()
        elif self.outage_began is not None:
            self.longest_outage_s = max(self.longest_outage_s, self.loop.time() - self.outage_began)
            self.outage_began = None


class Client:
    """One process that calls drivers: an orchestrator, or somebody who looks on. It can be killed at any moment."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.process = Process(name)
        self.is_alive = True
        self.verified_at: float | None = None  # when the service was tried last

    async def ask(self, method: str, subject: str, *, endpoint: str, effect: Callable[[], _T]) -> _T:
        """One request to `endpoint`, which does what it is asked in the order in which it hears it."""
        world = self.world
        if world.is_over:
            raise CancelledError
        number = world.calls
        world.calls = number + 1
        world.note(self.name, f"call {number}: {method} {subject}")
        world.begin(number, self)
        answer: Future[object] = world.loop.create_future()
        if self.is_alive:
            world.send(self, endpoint, effect, answer)
        return await answer  # type: ignore[return-value] # what the effect returned


def _answer(answer: "Future[object]", result: object, error: Exception | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)
