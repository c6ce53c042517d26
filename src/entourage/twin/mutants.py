"""The engine with planted faults of the protocol, each of which the simulated world has to find.

Most are the engine with a driver that leaves one call out: the same as if the engine never made it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from entourage.engine.mover import Drivers, GroupMover, Outcome
from entourage.model.ids import HostId, MemberId
from entourage.model.world import Service
from entourage.ports.errors import OutcomeUnknownError, PermanentError
from entourage.ports.hypervisor import ProgressCallback
from entourage.ports.journal import Decision, Journal
from entourage.switch import Group, begin_back, begin_forward
from entourage.switch import types as sw
from entourage.twin.exhaustive import run_schedule, schedules
from entourage.twin.simulation import simulate

_MEMBERS = 2  # of the schedules in which a mutant is looked for that no seed has shown

# What the faults here do is known to be wrong; what they are called with is the engine's own.
_StateCallback = Callable[[sw.State], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A planted fault, in words, and the engine that has it."""

    name: str
    mover: type[GroupMover]


class _Changed:
    """A driver with some of its methods replaced."""

    def __init__(self, real: object, **changed: object) -> None:
        self._real = real
        self.__dict__.update(changed)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the driver has there
        return getattr(self._real, name)


def _answering(answer: object = None) -> Callable[..., Awaitable[object]]:
    """A method that does nothing, and says so well."""

    async def nothing(*_: object, **__: object) -> object:
        return answer

    return nothing


def _without(port: str, *methods: str, answer: object = None) -> type[GroupMover]:
    """The engine, if it never called these methods of a driver."""

    class Without(GroupMover):
        def __init__(
            self,
            service: Service,
            drivers: Drivers,
            journal: Journal,
            *,
            progress: ProgressCallback,
            shown: _StateCallback,
        ) -> None:
            silent: Any = _Changed(getattr(drivers, port), **dict.fromkeys(methods, _answering(answer)))
            changed: dict[str, Any] = {port: silent}
            super().__init__(service, replace(drivers, **changed), journal, progress=progress, shown=shown)

    return Without


class _CommitsTooEarly(GroupMover):
    """Says that a member is drained when its drain has only begun."""

    async def _do(self, command: sw.Command, group: Group) -> sw.Event | None:
        if isinstance(command, sw.Drain):
            member, group_ = command.member, group
            work = super()._do(command, group_)
            self._start_in_background(work)
            return sw.Drained(member, 0)
        return await super()._do(command, group)

    def _start_in_background(self, work: Any) -> None:  # noqa: ANN401
        async def quietly() -> None:
            with suppress(Exception):  # that is the fault
                await work

        self._background = asyncio.create_task(quietly())


class _ResumesBeforeTheRecord(GroupMover):
    """Lets the targets run while the record is being written."""

    async def _do_for_all(self, command: sw.Command, group: Group) -> sw.Event | None:
        if isinstance(command, sw.RecordCommit):
            for member, host in group.targets.items():
                await self._drivers.hypervisor.resume(self._service.member(member), host)
        return await super()._do_for_all(command, group)


class _ResumesTwice(GroupMover):
    """Lets the source run as well as the target."""

    async def _do(self, command: sw.Command, group: Group) -> sw.Event | None:
        event = await super()._do(command, group)
        if isinstance(command, sw.Resume):
            source = group.sources[command.member]
            await self._drivers.hypervisor.resume(self._service.member(command.member), source)
        return event


class _UndoesAfterTheRecord(GroupMover):
    """Takes a record that was written for one that failed, if its storage says anything but yes at once."""

    async def _do_for_all(self, command: sw.Command, group: Group) -> sw.Event | None:
        if not isinstance(command, sw.RecordCommit):
            return await super()._do_for_all(command, group)
        try:
            return await super()._do_for_all(command, group)
        except OutcomeUnknownError as error:
            return sw.Failed("commit", str(error))


class _TakesARefusalForNo(GroupMover):
    """Goes back when the record is refused, although an attempt before may have written it."""

    async def _do_for_all(self, command: sw.Command, group: Group) -> sw.Event | None:
        try:
            return await super()._do_for_all(command, group)
        except PermanentError as error:
            if isinstance(command, sw.RecordCommit):
                return sw.Failed("commit", str(error))
            raise


class _RecoversBackAlways(GroupMover):
    """Goes back after every crash, whatever the journal says."""

    async def recover(self, group: Group, reason: str) -> Outcome:
        self._made = set(group.order)
        return await self._drive(*begin_back(group, reason), group)


class _RecoversForwardAlways(GroupMover):
    """Goes forward after every crash, whatever the journal says."""

    async def recover(self, group: Group, reason: str) -> Outcome:
        return await self._drive(*begin_forward(group), group)


class _RemovesSourcesFirst(GroupMover):
    """Removes each source before its target runs."""

    async def _do(self, command: sw.Command, group: Group) -> sw.Event | None:
        if isinstance(command, sw.Resume):
            await self._drivers.hypervisor.remove(command.member, group.sources[command.member])
        return await super()._do(command, group)


class _FlipsAtTheStop(GroupMover):
    """Brings the users to the target as soon as all stand still."""

    async def _do_for_all(self, command: sw.Command, group: Group) -> sw.Event | None:
        if isinstance(command, sw.RedirectIngress):
            await self._drivers.ingress.flip(self._service, group.target_site)
        return await super()._do_for_all(command, group)


class _CommitsInMemory(GroupMover):
    """Goes forward without a record."""

    async def _do_for_all(self, command: sw.Command, group: Group) -> sw.Event | None:
        if isinstance(command, sw.RecordCommit):
            return sw.Recorded()
        return await super()._do_for_all(command, group)


class _ForgetsOneInTheUndo(GroupMover):
    """Puts all members back but the last."""

    async def _put_back(self, member: MemberId, source: HostId) -> str | None:
        if self._service.members[-1].id == member:
            return None
        return await super()._put_back(member, source)


class _ForgetsWhatTheGuardDid(GroupMover):
    """Commits although a guard has run a source again."""

    async def _do_for_all(self, command: sw.Command, group: Group) -> sw.Event | None:
        event = await super()._do_for_all(command, group)
        return sw.Disarmed() if isinstance(event, sw.Disarmed) else event


class _DecidesAnew(GroupMover):
    """Writes its own decision without a look at the one that stands: two processes decide differently."""

    async def recover(self, group: Group, reason: str) -> Outcome:
        if await self._journal.decide(Decision.COMMIT) is Decision.COMMIT:
            return await self._drive(*begin_forward(group), group)
        return await super().recover(group, reason)


class _WaitsForTheLost(GroupMover):
    """Tries for ever to resume a target that is gone."""

    async def _resume(self, member: MemberId, target: HostId) -> sw.Event:
        return sw.Resumed(member, await self._drivers.hypervisor.resume(self._service.member(member), target))


class _LooksForEver(GroupMover):
    """Begins a recovery with a look that has no deadline."""

    async def recover(self, group: Group, reason: str) -> Outcome:
        for member, host in group.targets.items():
            await self._drivers.hypervisor.look(member, host)
        return await super().recover(group, reason)


MUTANTS: tuple[Mutant, ...] = (
    Mutant(name="commits before all are drained", mover=_CommitsTooEarly),
    Mutant(name="never arms the guards", mover=_without("guard", "arm")),
    Mutant(name="never disarms the guards", mover=_without("guard", "disarm", answer=frozenset())),
    Mutant(name="forgets what the guard did", mover=_ForgetsWhatTheGuardDid),
    Mutant(name="resumes before the record", mover=_ResumesBeforeTheRecord),
    Mutant(name="resumes twice", mover=_ResumesTwice),
    Mutant(name="commits in memory only", mover=_CommitsInMemory),
    Mutant(name="undoes after the record", mover=_UndoesAfterTheRecord),
    Mutant(name="takes a refusal for no", mover=_TakesARefusalForNo),
    Mutant(name="recovers back always", mover=_RecoversBackAlways),
    Mutant(name="recovers forward always", mover=_RecoversForwardAlways),
    Mutant(name="commits in the recovery", mover=_DecidesAnew),
    Mutant(name="removes sources before targets run", mover=_RemovesSourcesFirst),
    Mutant(name="resumes sources without abandoning", mover=_without("hypervisor", "abandon")),
    Mutant(name="forgets one in the undo", mover=_ForgetsOneInTheUndo),
    Mutant(name="flips before the commit", mover=_FlipsAtTheStop),
    Mutant(name="never withdraws", mover=_without("ingress", "withdraw")),
    Mutant(name="never ends a tunnel", mover=_without("ingress", "untunnel")),
    Mutant(name="never separates a segment", mover=_without("segments", "unstretch")),
    Mutant(name="never removes anything", mover=_without("hypervisor", "remove")),
    Mutant(name="never verifies", mover=_without("verifier", "problems", answer=())),
    Mutant(name="waits for ever for a lost target", mover=_WaitsForTheLost),
    Mutant(name="looks for ever in a recovery", mover=_LooksForEver),
)


def caught_at(mutant: Mutant, *, seeds: int) -> str | None:
    """The first run that shows that something is wrong: a seed below `seeds`, else a schedule of two members."""
    for seed in range(seeds):
        if simulate(seed, mover=mutant.mover).violations:
            return f"seed {seed}"
    for schedule in schedules(_MEMBERS, least=_MEMBERS):
        if run_schedule(schedule, mover=mutant.mover).violations:
            return str(schedule)
    return None
