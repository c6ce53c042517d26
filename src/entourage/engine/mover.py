"""Drives one group switch: commands become calls of drivers, their outcomes become events."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from entourage.engine.deadlines import DEADLINE_S, RETRY_DELAY_S
from entourage.model.ids import MemberId
from entourage.model.world import Service
from entourage.ports.errors import TemporaryError
from entourage.ports.hypervisor import Hypervisor, ProgressCallback
from entourage.ports.ingress import Ingress
from entourage.ports.journal import Journal
from entourage.ports.segments import Segments
from entourage.ports.watch import TrafficWatch, Verifier
from entourage.switch import Group, advance, begin
from entourage.switch import types as sw


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """Everything outside that a move acts on or looks at."""

    hypervisor: Hypervisor
    ingress: Ingress
    segments: Segments
    watch: TrafficWatch
    verifier: Verifier


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


StateCallback = Callable[[sw.State], None]


class GroupMover:
    """One run of the group switch."""

    def __init__(
        self, service: Service, drivers: Drivers, journal: Journal, *, progress: ProgressCallback, shown: StateCallback
    ) -> None:
        """`progress` is called with each member's copy progress, `shown` with each new state."""
        self._service = service
        self._drivers = drivers
        self._journal = journal
        self._progress = progress
        self._shown = shown
        self._events: asyncio.Queue[sw.Event] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._marks: list[Mark] = []

    def abort(self, reason: str) -> None:
        """Ask for the move not to happen. Before the commit everything is put back; after it this changes nothing."""
        self._events.put_nowait(sw.AbortRequested(reason))

    async def run(self, group: Group) -> Outcome:
        """Drive the switch to its end."""
        state, commands = begin(group)
        self._shown(state)
        self._start(commands, group)
        try:
            while not isinstance(state, sw.Done | sw.RolledBack):
                event = await self._events.get()
                before = type(state)
                state, commands = advance(state, event)
                self._start(commands, group)
                if type(state) is not before:
                    self._mark(type(state).__name__)
                    self._shown(state)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        return Outcome(state=state, marks=self._marks)

    def _mark(self, what: str) -> None:
        self._marks.append(Mark(at=time.time(), what=what))

    def _start(self, commands: tuple[sw.Command, ...], group: Group) -> None:
        for command in commands:
            if isinstance(command, sw.Undo):
                # What is still under way must not act on what is being put back.
                for running in self._tasks:
                    running.cancel()
            task = asyncio.create_task(self._carry_out(command, group), name=str(command))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, command: sw.Command, group: Group) -> None:
        """Do what the command asks and post its event; after the commit, try again until it is done."""
        forward_only = isinstance(command, sw.Resume | sw.FlipIngress)
        while True:
            try:
                async with asyncio.timeout(DEADLINE_S[type(command)]):
                    event = await self._do(command, group)
            except Exception as error:  # noqa: BLE001 - whatever a driver's fault is, the move has to come to an end
                reason = str(error) or f"no answer within {DEADLINE_S[type(command)]:g} s"
                if forward_only:
                    self._mark(f"{command} failed, trying again: {reason}")
                    await asyncio.sleep(error.delay if isinstance(error, TemporaryError) else RETRY_DELAY_S)
                    continue
                if isinstance(command, sw.RedirectIngress):
                    # Late packets are lost until the route has flipped; no reason to give up the switch.
                    self._mark(f"redirect failed: {reason}")
                    return
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
                return sw.Prepared(name)
            case sw.PreparePath():
                return await self._prepare_path(group)
            case sw.Copy(name):
                held = await hypervisor.copy(
                    member(name), source=group.sources[name], target=group.targets[name], progress=self._progress
                )
                return sw.Held(name, held.left, held.stopped_at)
            case sw.Refresh(name, pace):
                held = await hypervisor.refresh(member(name), source=group.sources[name], pace=pace)
                return sw.Held(name, held.left, held.stopped_at)
            case sw.Stop(name):
                return sw.Stopped(name, await hypervisor.stop(member(name), source=group.sources[name]))
            case sw.Drain(name):
                source, target = group.sources[name], group.targets[name]
                return sw.Drained(name, await hypervisor.drain(member(name), source=source, target=target))
            case sw.Resume(name, host):
                return sw.Resumed(name, await hypervisor.resume(member(name), host))
            case sw.Undo(stopped):
                await self._undo(group, stopped)
                return sw.Undone()
            case _:
                return await self._do_for_all(command, group)

    async def _do_for_all(self, command: sw.Command, group: Group) -> sw.Event | None:
        ingress, service = self._drivers.ingress, self._service
        match command:
            case sw.RedirectIngress():
                await ingress.tunnel(service, source=group.source_site, target=group.target_site)
                self._mark("redirected")
                return None
            case sw.RecordCommit():
                await self._journal.write("commit", {"members": list(group.order)})
                return sw.Recorded()
            case sw.FlipIngress():
                await ingress.flip(service, group.target_site)
                self._mark("flipped")
                return sw.IngressFlipped()
            case sw.Verify():
                return sw.Verified(await self._drivers.verifier.problems(service))
            case sw.CleanUp():
                await self._clean_up(group)
                return sw.Cleaned()
            case _:
                raise AssertionError(f"unknown command {command}")

    async def _prepare_path(self, group: Group) -> sw.PathReady:
        both = frozenset({group.source_site, group.target_site})
        for segment in group.stretch:
            await self._drivers.segments.stretch(self._service, segment, both)
        if group.moves_ingress:
            await self._drivers.watch.start(self._service)
            await self._drivers.ingress.stage(self._service, group.target_site)
        return sw.PathReady()

    async def _clean_up(self, group: Group) -> None:
        """Sources first (they hold memory and licences); the old route last, when nothing comes that way any more."""
        for name in group.order:
            await self._drivers.hypervisor.remove(name, group.sources[name])
        for segment in group.unstretch:
            await self._drivers.segments.unstretch(self._service, segment)
        if group.moves_ingress:
            await retire_source_ingress(self._drivers, self._service, group)

    async def _undo(self, group: Group, stopped: frozenset[MemberId]) -> None:
        """The users' service first: no redirect, every stopped source runs. Then the traces of the attempt."""
        if group.moves_ingress:
            await self._drivers.ingress.untunnel(self._service, source=group.source_site)
        await _all(self._put_back(group, name, resume=name in stopped) for name in group.order)
        await _all(self._drivers.hypervisor.remove(name, group.targets[name]) for name in group.order)
        if group.moves_ingress:
            await self._drivers.ingress.withdraw(self._service, group.target_site)
        for segment in group.stretch:
            await self._drivers.segments.unstretch(self._service, segment)

    async def _put_back(self, group: Group, name: MemberId, *, resume: bool) -> None:
        # The copy is ended before the member runs: it might complete, and stop the member again.
        await self._drivers.hypervisor.abandon(self._service.member(name), source=group.sources[name])
        if resume:
            await self._drivers.hypervisor.resume(self._service.member(name), group.sources[name])


async def retire_source_ingress(drivers: Drivers, service: Service, group: Group) -> None:
    """Withdraw at the source when it is quiet, end its tunnel, and announce normally at the target."""
    await drivers.ingress.withdraw(service, group.source_site)
    await drivers.watch.wait_quiet(group.source_site, quiet_s=1.0, deadline_s=30.0)
    await drivers.ingress.activate(service, group.target_site)
    await drivers.ingress.untunnel(service, source=group.source_site)


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All at once, each to its end; then the first error, if any."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def _describe(command: sw.Command) -> str:
    name = type(command).__name__.lower()
    member = getattr(command, "member", None)
    return f"{name} {member}" if member else name
