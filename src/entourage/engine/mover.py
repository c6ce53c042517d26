"""Drives one group switch: commands become calls of drivers, their outcomes become events."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from entourage.engine.deadlines import (
    DEADLINE_S,
    FLIP_GIVEN_UP_S,
    GUARD_DEADLINE_S,
    LOOK_DEADLINE_S,
    PART_DEADLINE_S,
    QUIET_DEADLINE_S,
)
from entourage.engine.insisting import all_of, delay_after, insist, reason_of, since
from entourage.model.ids import HostId, MemberId
from entourage.model.world import Service
from entourage.ports.errors import DriverError, PermanentError
from entourage.ports.guard import Guard
from entourage.ports.hypervisor import Hypervisor, ProgressCallback, RunState
from entourage.ports.ingress import Ingress
from entourage.ports.journal import Decision, Journal
from entourage.ports.right import Right, RightLostError, RightUnknownError
from entourage.ports.segments import Segments
from entourage.ports.watch import TrafficWatch, Verifier
from entourage.switch import Group, advance, begin, begin_back, begin_forward
from entourage.switch import types as sw


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """Everything outside that a move acts on or looks at."""

    hypervisor: Hypervisor
    ingress: Ingress
    segments: Segments
    watch: TrafficWatch
    verifier: Verifier
    guard: Guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened in a move, at `at` (seconds since the epoch)."""

    at: float
    what: str


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How a switch ended: its last state, and what happened when."""

    state: sw.Done | sw.RolledBack
    marks: list[Mark] = field(default_factory=list)


class RecoveryError(Exception):
    """What is there and what the journal says do not fit together: somebody has to look, nothing was changed."""


StateCallback = Callable[[sw.State], None]


class GroupMover:
    """One run of the group switch."""

    def __init__(
        self,
        service: Service,
        drivers: Drivers,
        journal: Journal,
        *,
        progress: ProgressCallback,
        shown: StateCallback,
        right: Right | None = None,
    ) -> None:
        """`progress` is called with each member's copy progress, `shown` with each new state.

        Without a `right` nobody else can drive, or whoever calls this sees to it.
        """
        self._service = service
        self._drivers = drivers
        self._journal = journal
        self._right = right
        self._progress = progress
        self._shown = shown
        self._events: asyncio.Queue[sw.Event | RightLostError] = asyncio.Queue()
        self._tasks: dict[asyncio.Task[None], sw.Command] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._cancelled: set[asyncio.Task[None]] = set()
        self._made: set[MemberId] = set()  # whose target instance is this move's own
        self._is_guarded = False  # as far as this process knows
        self._marks: list[Mark] = []
        self.on_retry: Callable[[str], None] = lambda _: None  # called with what did not succeed, and is tried again

    def abort(self, reason: str) -> None:
        """Ask for the move not to happen. Before the commit everything is put back; after it this changes nothing."""
        self._events.put_nowait(sw.AbortRequested(reason))

    def approve(self) -> None:
        """Let a move go on that waits; one that does not wait yet will not."""
        self._events.put_nowait(sw.Approved())

    async def run(self, group: Group) -> Outcome:
        """Drive the switch to its end. RightLostError if somebody else does so now: everything is left as it is."""
        return await self._drive(*begin(group), group)

    async def recover(self, group: Group, reason: str) -> Outcome:
        """Bring a move to its end whose orchestrator died at any moment: back if that is not excluded, else forward.

        Whoever calls this has made sure that no other orchestrator drives the move. RecoveryError if what is there
        fits neither way; then nothing was changed.
        """
        there, here = await self._look_at(group.targets), await self._look_at(group.sources)
        async with asyncio.timeout(DEADLINE_S[sw.RecordCommit]):
            decision = await self._journal.decide(Decision.BACK)
        if decision is Decision.BACK:
            running = sorted(member for member, state in there.items() if state is RunState.RUNNING)
            if running:
                where = _hosts({member: group.targets[member] for member in running})
                raise RecoveryError(
                    f"{', '.join(running)} run at {where}, and the journal has no commit of this move:"
                    " it is not the journal that the move was begun with"
                )
            self._made = set(group.order)
            return await self._drive(*begin_back(group, reason), group)
        if all(state is RunState.ABSENT for state in there.values()) and RunState.RUNNING in here.values():
            raise RecoveryError(
                f"the move is committed, yet nobody is at {_hosts(group.targets)}: has it been moved back?"
            )
        if group.moves_ingress:
            # Without it the old route goes when its time is up, whether it is quiet there or not.
            await self._insist("watch", partial(self._drivers.watch.start, self._service))
        return await self._drive(*begin_forward(group), group)

    async def _insist(
        self, what: str, work: Callable[[], Awaitable[object]], *, deadline_s: float = PART_DEADLINE_S
    ) -> str | None:
        return await insist(what, work, deadline_s=deadline_s, told=self.on_retry)

    async def _look_at(self, hosts: Mapping[MemberId, HostId]) -> dict[MemberId, RunState | None]:
        """What each copy is; None where nobody tells: one that does not answer must not keep the others waiting."""

        async def look(member: MemberId, host: HostId) -> RunState | None:
            try:
                async with asyncio.timeout(LOOK_DEADLINE_S):
                    return await self._drivers.hypervisor.look(member, host)
            except Exception:  # noqa: BLE001 - whatever it is, what is done about the member will say so
                return None

        states = await asyncio.gather(*(look(member, host) for member, host in hosts.items()))
        return dict(zip(hosts, states, strict=True))

    async def _drive(self, state: sw.State, commands: tuple[sw.Command, ...], group: Group) -> Outcome:
        self._shown(state)
        self._start(commands, group)
        try:
            while not isinstance(state, sw.Done | sw.RolledBack):
                event = await self._events.get()
                if isinstance(event, RightLostError):
                    raise event
                before = type(state)
                state, commands = self._advance(state, event)
                self._start(commands, group)
                if type(state) is not before:
                    self._mark(type(state).__name__)
                    self._shown(state)
        finally:
            leftover = [*self._tasks, *self._watchers]
            for task in leftover:
                task.cancel()
            await asyncio.gather(*leftover, return_exceptions=True)
        return Outcome(state=state, marks=self._marks)

    def _advance(self, state: sw.State, event: sw.Event) -> tuple[sw.State, tuple[sw.Command, ...]]:
        """The switch's next step. A fault of ours must leave nobody paused: before the commit it means to go back."""
        try:
            return advance(state, event)
        except sw.ProtocolError as error:
            return advance(state, sw.Failed("switch", str(error)))  # raises again after the commit

    def _mark(self, what: str) -> None:
        self._marks.append(Mark(at=time.time(), what=what))

    def _start(self, commands: tuple[sw.Command, ...], group: Group) -> None:
        kinds = {type(command) for command in commands}
        if sw.Undo in kinds:
            for watcher in self._watchers:
                watcher.cancel()
        # What is under way must not act on what is being put back. And what nobody waits for any more, such as a pass
        # when all are told to stop, must not fail later on: it would be taken for a failure of what follows.
        obsolete: set[type[sw.Command]] = set(DEADLINE_S) if sw.Undo in kinds else set()
        if kinds & {sw.Stop, sw.Drain}:
            obsolete |= {sw.Copy, sw.Refresh, sw.Repace}
        if sw.Drain in kinds:
            obsolete.add(sw.Stop)
        if sw.CleanUp in kinds:
            obsolete.add(sw.RedirectIngress)
        for running, command in self._tasks.items():
            if type(command) in obsolete:
                running.cancel()
                self._cancelled.add(running)
        for command in commands:
            task = asyncio.create_task(self._carry_out(command, group), name=str(command))
            self._tasks[task] = command
            task.add_done_callback(self._tasks.pop)

    def _watch_stop(self, name: MemberId, group: Group) -> None:
        """Tell the switch when the member stops, even if nobody told it to: a hold is only as good as its driver."""

        async def watch() -> None:
            with suppress(DriverError):  # its copy is gone: whoever needs it will say so
                at = await self._drivers.hypervisor.stopped(self._service.member(name), source=group.sources[name])
                self._events.put_nowait(sw.Stopped(name, at))

        self._watchers.append(asyncio.create_task(watch(), name=f"stop of {name}"))

    async def _carry_out(self, command: sw.Command, group: Group) -> None:
        """Do what the command asks and post its event; after the commit, try again until it is done."""
        forward_only, uncertain = isinstance(command, sw.Resume | sw.FlipIngress), False
        deadline_s, began = DEADLINE_S[type(command)], asyncio.get_running_loop().time()
        while True:
            event: sw.Event | None
            try:
                if self._right is not None:
                    await self._right.check()
                async with asyncio.timeout(deadline_s):
                    event = await self._do(command, group)
            except RightLostError as error:
                self._events.put_nowait(error)
                return
            except Exception as error:  # noqa: BLE001 - whatever a driver's fault is, the move has to come to an end
                reason = reason_of(error, deadline_s)
                # A commit that may be on storage or not is asked for until that is known: neither way is safe before.
                # It stays uncertain when a later attempt is refused: an earlier one may have been written.
                uncertain |= isinstance(command, sw.RecordCommit) and not isinstance(error, PermanentError)
                if isinstance(command, sw.FlipIngress) and since(began) > FLIP_GIVEN_UP_S:
                    event = sw.NotFlipped(reason)
                elif forward_only or uncertain or _must_wait(command, error):
                    self._mark(f"{command} failed, trying again: {reason}")
                    await asyncio.sleep(delay_after(error))
                    continue
                elif isinstance(command, sw.RedirectIngress):
                    # Late packets are lost until the route has flipped; no reason to give up the switch.
                    self._mark(f"redirect failed: {reason}")
                    return
                else:
                    event = sw.Failed(_describe(command), reason)
            if event is not None:
                self._events.put_nowait(event)
            return

    async def _do(self, command: sw.Command, group: Group) -> sw.Event | None:
        """One attempt. The match lists every command; mypy checks that none is missing."""
        hypervisor, member = self._drivers.hypervisor, self._service.member
        match command:
            case sw.Prepare(name, host):
                await hypervisor.prepare(member(name), host)
                self._made.add(name)
                return sw.Prepared(name)
            case sw.PreparePath():
                await prepare_path(self._drivers, self._service, group)
                return sw.PathReady()
            case sw.Copy(name):
                held = await hypervisor.copy(
                    member(name), source=group.sources[name], target=group.targets[name], progress=self._progress
                )
                self._watch_stop(name, group)
                return sw.Held(name, held.left, held.takes_s)
            case sw.Refresh(name, pace):
                held = await hypervisor.refresh(member(name), source=group.sources[name], pace=pace)
                return sw.Held(name, held.left, held.takes_s)
            case sw.Repace(name, pace):
                await hypervisor.repace(member(name), source=group.sources[name], pace=pace)
                return None
            case sw.Stop(name):
                return sw.Stopped(name, await hypervisor.stop(member(name), source=group.sources[name]))
            case sw.Drain(name):
                source, target = group.sources[name], group.targets[name]
                return sw.Drained(name, await hypervisor.drain(member(name), source=source, target=target))
            case sw.Resume(name, host):
                return await self._resume(name, host)
            case _:
                return await self._do_for_all(command, group)

    async def _do_for_all(self, command: sw.Command, group: Group) -> sw.Event | None:
        service = self._service
        match command:
            case sw.RedirectIngress() | sw.FlipIngress():
                return await self._route(command, group)
            case sw.CheckReady():
                return await self._check_ready(group)
            case sw.Arm():
                await self._drivers.guard.arm(service, group.sources, deadline_s=GUARD_DEADLINE_S)
                self._is_guarded = True
                return sw.Armed()
            case sw.Disarm():
                self._is_guarded = False
                return sw.Disarmed(await self._drivers.guard.disarm(service, group.sources))
            case sw.RecordCommit():
                decision = await self._journal.decide(Decision.COMMIT)
                return (
                    sw.Recorded() if decision is Decision.COMMIT else sw.Failed("commit", "it was decided to go back")
                )
            case sw.Verify():
                return sw.Verified(await self._drivers.verifier.problems(service))
            case sw.CleanUp():
                problems = await self._clean_up(group, command)
                return sw.Failed("cleanup", "; ".join(problems)) if problems else sw.Cleaned()
            case sw.Undo():
                problems = await self._undo(group)
                return sw.Failed("undo", "; ".join(problems)) if problems else sw.Undone()
            case _:
                raise AssertionError(f"unknown command {command}")

    async def _route(self, command: sw.RedirectIngress | sw.FlipIngress, group: Group) -> sw.Event | None:
        ingress, target = self._drivers.ingress, group.target_site
        if isinstance(command, sw.FlipIngress):
            await ingress.flip(self._service, target)
            self._mark("flipped")
            return sw.IngressFlipped()
        await ingress.tunnel(self._service, source=group.source_site, target=target)
        self._mark("redirected")
        return None

    async def _check_ready(self, group: Group) -> sw.Event:
        await self._journal.check()
        if group.moves_ingress:
            # Asked for twice: it looks, and mends what it can.
            await self._drivers.ingress.stage(self._service, group.target_site)
        return sw.Ready()

    async def _resume(self, member: MemberId, target: HostId) -> sw.Event:
        """Let the target run. One that is gone will never run, however often it is tried: the others go on."""
        try:
            return sw.Resumed(member, await self._drivers.hypervisor.resume(self._service.member(member), target))
        except PermanentError as error:
            if await self._drivers.hypervisor.look(member, target) in (RunState.ABSENT, RunState.FAILED):
                return sw.Lost(member, str(error))
            raise

    async def _clean_up(self, group: Group, wanted: sw.CleanUp) -> list[str]:
        """Sources first (they hold memory and licences); the old route last, when nothing comes that way any more."""
        drivers, service = self._drivers, self._service
        parts = [
            self._insist(f"remove {m} on {h}", partial(drivers.hypervisor.remove, m, h))
            for m, h in group.sources.items()
            if m not in wanted.keep
        ]
        parts += [
            self._insist(f"unstretch {s}", partial(drivers.segments.unstretch, service, s)) for s in group.unstretch
        ]
        if wanted.keep_ingress:
            redirect = partial(drivers.ingress.tunnel, service, source=group.source_site, target=group.target_site)
            parts.append(self._insist(f"redirect at {group.source_site}", redirect))
        problems = await all_of(parts)
        retires = group.moves_ingress and not wanted.keep_ingress
        for what, work, deadline_s in _retirement(drivers, service, group) if retires else ():
            problem = await self._insist(what, work, deadline_s=deadline_s)
            if problem is not None:
                return [*problems, problem]  # what follows counts on what went before
        return problems

    async def _undo(self, group: Group) -> list[str]:
        """The users' service first: every source runs, and no redirect. Then the traces of the attempt.

        Whatever fails, the rest is put back all the same; returns what could not be.
        """
        ingress, segments = self._drivers.ingress, self._drivers.segments
        service, sources = self._service, group.sources
        if self._cancelled:
            await asyncio.wait(self._cancelled, timeout=PART_DEADLINE_S)
        doubtful, redirected = await asyncio.gather(self._put_back_all(sources), self._untunnel(group))
        problems = [redirected] if redirected else []
        # Last among what users need: until they all run, a guard is what helps if we die now. And one that would not
        # run, or whose copy may still complete and stop it, stays the guard's: nobody stands without a deadline.
        watched = await self._still_there({member: sources[member] for member in doubtful})
        traces = [self._disarm({member: host for member, host in sources.items() if member not in watched})]
        if watched and not self._is_guarded:
            arm = partial(self._drivers.guard.arm, service, watched, deadline_s=GUARD_DEADLINE_S)
            traces.append(self._insist(f"arm the guards for {', '.join(sorted(watched))}", arm))
        traces += [
            self._insist(f"remove {member} on {host}", partial(self._remove_own, member, host))
            for member, host in group.targets.items()
        ]
        if group.moves_ingress:
            traces.append(self._insist("withdraw", partial(ingress.withdraw, service, group.target_site)))
        traces += [self._insist(f"unstretch {s}", partial(segments.unstretch, service, s)) for s in group.stretch]
        problems += await all_of(traces)
        if doubtful:
            # Their copies' targets are gone now, so those that would not be given up have ended: once more.
            doubtful = await self._put_back_all({member: sources[member] for member in doubtful})
            problems += await all_of([self._disarm({m: host for m, host in watched.items() if m not in doubtful})])
        return [*doubtful.values(), *problems]

    async def _untunnel(self, group: Group) -> str | None:
        if not group.moves_ingress:
            return None
        untunnel = partial(self._drivers.ingress.untunnel, self._service, source=group.source_site)
        return await self._insist("untunnel", untunnel)

    async def _disarm(self, sources: Mapping[MemberId, HostId]) -> str | None:
        disarm = partial(self._drivers.guard.disarm, self._service, sources)
        return await self._insist("disarm the guards", disarm) if sources else None

    async def _put_back_all(self, sources: Mapping[MemberId, HostId]) -> dict[MemberId, str]:
        """All at once; of those of whom it is not certain that they run and go on running, why."""
        problems = await asyncio.gather(*(self._put_back(member, host) for member, host in sources.items()))
        return {member: problem for member, problem in zip(sources, problems, strict=True) if problem}

    async def _still_there(self, sources: Mapping[MemberId, HostId]) -> dict[MemberId, HostId]:
        """Those that are not known to be gone for good."""
        states = await self._look_at(sources)
        return {m: host for m, host in sources.items() if states[m] not in (RunState.ABSENT, RunState.FAILED)}

    async def _put_back(self, member: MemberId, source: HostId) -> str | None:
        # The copy is ended before the member runs: it might complete, and stop the member again.
        abandon = partial(self._drivers.hypervisor.abandon, self._service.member(member), source=source)
        problem = await self._insist(f"abandon the copy of {member}", abandon)
        return await self._insist(f"resume {member} on {source}", partial(self._run_again, member, source)) or problem

    async def _run_again(self, member: MemberId, source: HostId) -> None:
        """Look, then act: it may have been stopped or not, by us or by itself, and nobody told us yet."""
        if await self._drivers.hypervisor.look(member, source) is not RunState.RUNNING:
            await self._drivers.hypervisor.resume(self._service.member(member), source)

    async def _remove_own(self, member: MemberId, target: HostId) -> None:
        """Remove the target's instance, but nothing that was there before and made the preparing fail."""
        if member not in self._made:
            state = await self._drivers.hypervisor.look(member, target)
            if state in (RunState.RUNNING, RunState.PAUSED):
                raise PermanentError(f"the copy there is {state.value}, and not of this move: left as it is")
        await self._drivers.hypervisor.remove(member, target)


async def prepare_path(drivers: Drivers, service: Service, group: Group) -> None:
    """Stretch the segments that need it, watch the edges from now on, and stage the ingress at the target."""
    both = frozenset({group.source_site, group.target_site})
    for segment in group.stretch:
        await drivers.segments.stretch(service, segment, both)
    if group.moves_ingress:
        await drivers.watch.start(service)
        await drivers.ingress.stage(service, group.target_site)


async def retire_source_ingress(drivers: Drivers, service: Service, group: Group) -> None:
    """Withdraw at the source, and when it is quiet there end its tunnel; announce normally at the target."""
    for _, work, _ in _retirement(drivers, service, group):
        await work()


def _retirement(
    drivers: Drivers, service: Service, group: Group
) -> tuple[tuple[str, Callable[[], Awaitable[object]], float], ...]:
    """The steps by which the source's ingress goes, with how long each may take (seconds)."""
    ingress, source, target = drivers.ingress, group.source_site, group.target_site
    wait_quiet = partial(drivers.watch.wait_quiet, source, quiet_s=1.0, deadline_s=QUIET_DEADLINE_S)
    return (
        (f"withdraw at {source}", partial(ingress.withdraw, service, source), PART_DEADLINE_S),
        (f"wait until {source} is quiet", wait_quiet, QUIET_DEADLINE_S + PART_DEADLINE_S),
        (f"activate {target}", partial(ingress.activate, service, target), PART_DEADLINE_S),
        (f"untunnel {source}", partial(ingress.untunnel, service, source=source), PART_DEADLINE_S),
    )


def _hosts(placement: Mapping[MemberId, HostId]) -> str:
    return ", ".join(sorted(set(placement.values())))


def _must_wait(command: sw.Command, error: Exception) -> bool:
    """Whether somebody else may be putting it back or cleaning up just now. Until that is known guards help users."""
    return isinstance(command, sw.Undo | sw.CleanUp) and isinstance(error, RightUnknownError)


def _describe(command: sw.Command) -> str:
    name = type(command).__name__.lower()
    member = getattr(command, "member", None)
    return f"{name} {member}" if member else name
