# ruff: noqa: D102 - a check's name says what it shows
"""What every `entourage.ports.guard.Guard` must do."""

import asyncio
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass
from enum import Enum

from entourage.model.ids import HostId
from entourage.model.world import Member, Service
from entourage.ports.conformance.kit import Conformance, check, require, wait_until
from entourage.ports.guard import Guard
from entourage.ports.hypervisor import Capability, Hypervisor, RunState

STOPPED = (Capability.HOLD, Capability.ALIGNED_STOP)
DRAINED = (*STOPPED, Capability.COMPLETE_PAUSED)
ABORTED = (*DRAINED, Capability.ABORT_AFTER_DRAIN)

_FAR_S = 3600.0
_LOOKS = 40  # how often a member that must not change is looked at
_LOOK_AGAIN_S = 0.01

Act = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """Where the checks are made: `member` of `service` is copied from `source` to `target`.

    `soon_s` is a deadline that has passed when something was looked at 40 times; `runs_within_s` is how long, in real
    time, a member is waited for that has to run again.
    """

    service: Service
    member: Member
    source: HostId
    target: HostId
    soon_s: float
    runs_within_s: float = 20.0


class GuardConformance(Conformance):
    """The kit for guards. It boots a member, copies it, and lets it stand still in all the ways that a move does."""

    def __init__(self, guard: Guard, hypervisor: Hypervisor, *, where: Guarded, booted: Act, gone: Act) -> None:
        """`booted` waits until the member just created writes; `gone` lets the guard believe that its armer is gone.

        The same `guard` is used after that as if it were somebody else's.
        """
        self.guard = guard
        self.hypervisor = hypervisor
        self._where = where
        self._booted = booted
        self._gone = gone
        self._sources = {where.member.id: where.source}

    def can(self) -> Set[Enum]:
        """The hypervisor's capabilities: guards have none of their own."""
        return self.hypervisor.capabilities()

    async def clear(self) -> None:
        """Nothing armed, and no copy of the member on either host."""
        await self.guard.disarm(self._where.service, self._sources)
        for host in (self._where.target, self._where.source):
            await self.hypervisor.remove(self._where.member.id, host)

    # --- the armer is gone ------------------------------------------------------------------------------------------

    @check(*STOPPED)
    async def a_stopped_source_runs_again_when_its_armer_is_gone(self) -> None:
        await self._copied()
        await self._arm(_FAR_S)
        await self._stop()
        await self._gone()
        await self._wait_runs()
        require(await self._target() is not RunState.RUNNING, "the target runs too")

    @check(*ABORTED)
    async def a_drained_source_runs_again_when_its_armer_is_gone(self) -> None:
        await self._copied()
        await self._arm(_FAR_S)
        await self._stop()
        where = self._where
        await self.hypervisor.drain(where.member, source=where.source, target=where.target)
        await self._gone()
        await self._wait_runs()
        require(await self._target() is not RunState.RUNNING, "the target runs too")

    @check(*STOPPED)
    async def who_was_run_again_is_told_even_after_its_armer_was_gone(self) -> None:
        await self._created()
        await self._arm(_FAR_S)
        await self._stop()
        await self._gone()
        await self._wait_runs()
        await self._disarm(run_again=True)

    @check(*STOPPED)
    async def a_source_that_never_stops_is_left_as_it_is(self) -> None:
        await self._copied()
        await self._arm(self._where.soon_s)
        await self._gone()
        await self._stays(RunState.RUNNING)
        await self._disarm(run_again=False)

    # --- the deadline -----------------------------------------------------------------------------------------------

    @check(*STOPPED)
    async def a_stopped_source_runs_again_after_the_deadline(self) -> None:
        await self._copied()
        await self._arm(self._where.soon_s)
        await self._stop()
        await self._wait_runs()
        await self._disarm(run_again=True)

    @check(*STOPPED)
    async def a_source_that_stood_still_before_runs_again_after_the_deadline(self) -> None:
        await self._created()
        await self._stop()
        await self._arm(self._where.soon_s)
        await self._wait_runs()

    @check(*STOPPED)
    async def before_the_deadline_it_stays_paused(self) -> None:
        await self._created()
        await self._arm(_FAR_S)
        await self._stop()
        await self._stays(RunState.PAUSED)
        await self._disarm(run_again=False)

    @check(*STOPPED)
    async def armed_twice_the_later_deadline_counts(self) -> None:
        await self._created()
        await self._arm(self._where.soon_s)
        await self._arm(_FAR_S)
        await self._stop()
        await self._stays(RunState.PAUSED)
        await self._arm(self._where.soon_s)
        await self._wait_runs()

    # --- disarmed ---------------------------------------------------------------------------------------------------

    @check(*STOPPED)
    async def disarmed_it_stays_paused_past_the_deadline_and_without_its_armer(self) -> None:
        await self._created()
        await self._arm(self._where.soon_s)
        await self._disarm(run_again=False)
        await self._stop()
        await self._stays(RunState.PAUSED)
        await self._gone()
        await self._stays(RunState.PAUSED)
        await self._disarm(run_again=False)

    @check(*STOPPED)
    async def disarmed_while_it_stands_still_it_stays_paused(self) -> None:
        await self._copied()
        await self._arm(_FAR_S)
        await self._stop()
        await self._disarm(run_again=False)
        await self._gone()
        await self._stays(RunState.PAUSED)

    @check(*STOPPED)
    async def armed_anew_what_was_run_again_before_is_forgotten(self) -> None:
        await self._created()
        await self._arm(self._where.soon_s)
        await self._stop()
        await self._wait_runs()
        for _ in range(2):
            await self._disarm(run_again=True)
        await self._arm(_FAR_S)
        await self._disarm(run_again=False)

    @check()
    async def disarm_of_what_was_never_armed_is_nothing(self) -> None:
        await self._disarm(run_again=False)

    # --- how far a check has to go first, and what is seen ----------------------------------------------------------

    async def _created(self) -> None:
        await self.hypervisor.create(self._where.member, self._where.source)

    async def _copied(self) -> None:
        where = self._where
        await self._created()
        await self.hypervisor.prepare(where.member, where.target)
        await self._booted()
        await self.hypervisor.copy(where.member, source=where.source, target=where.target, progress=lambda _: None)

    async def _arm(self, deadline_s: float) -> None:
        await self.guard.arm(self._where.service, self._sources, deadline_s=deadline_s)

    async def _disarm(self, *, run_again: bool) -> None:
        seen = await self.guard.disarm(self._where.service, self._sources)
        wanted = frozenset(self._sources) if run_again else frozenset()
        require(seen == wanted, f"run again were {sorted(seen)}, not {sorted(wanted)}")

    async def _stop(self) -> None:
        await self.hypervisor.stop(self._where.member, source=self._where.source)

    async def _source(self) -> RunState:
        return await self.hypervisor.look(self._where.member.id, self._where.source)

    async def _target(self) -> RunState:
        return await self.hypervisor.look(self._where.member.id, self._where.target)

    async def _wait_runs(self) -> None:
        async def runs() -> bool:
            return await self._source() is RunState.RUNNING

        await wait_until(runs, words="the source runs again", deadline_s=self._where.runs_within_s)

    async def _stays(self, wanted: RunState) -> None:
        for _ in range(_LOOKS):
            seen = await self._source()
            require(seen is wanted, f"the source is {seen.value}; it was {wanted.value}, and should be left so")
            await asyncio.sleep(_LOOK_AGAIN_S)
