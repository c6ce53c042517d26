# ruff: noqa: D102 - a check's name says what it shows
"""What every `entourage.ports.hypervisor.Hypervisor` must do."""

import asyncio
from collections.abc import Awaitable, Callable, Set
from enum import Enum

from entourage.model.ids import HostId
from entourage.model.world import Member
from entourage.ports.conformance.kit import Conformance, check, require, require_raises
from entourage.ports.errors import DriverError, PermanentError, UnsupportedError
from entourage.ports.hypervisor import Capability, CopyProgress, CopyRound, Hypervisor, RunState

HELD = (Capability.HOLD,)
STOPPED = (*HELD, Capability.ALIGNED_STOP)
DRAINED = (*STOPPED, Capability.COMPLETE_PAUSED)

_PACE = 3e6  # bytes/s: slow enough that a guest has written something by the end of a pass
_TOLD_WITHIN_S = 5.0


Booted = Callable[[], Awaitable[None]]


class HypervisorConformance(Conformance):
    """The kit for hypervisors. It boots `member` on `source` and copies it to `target`; what the guest is, is the same.

    What is lacking in the capabilities must raise UnsupportedError: `copy` and `refresh` without HOLD, `stop` without
    ALIGNED_STOP, `drain` without COMPLETE_PAUSED, `migrate` without MIGRATE, and `resume` of a source that was drained
    without ABORT_AFTER_DRAIN.
    """

    def __init__(
        self, driver: Hypervisor, *, member: Member, source: HostId, target: HostId, booted: Booted | None = None
    ) -> None:
        """`booted` waits until the member just created has booted, and writes so much that no pass finds nothing left.

        Without it the member is copied while it boots, and may stop by itself at the end of a pass.
        """
        self.driver = driver
        self._booted = booted
        self.member = member
        self.source = source
        self.target = target
        self.progress: list[CopyProgress] = []

    def can(self) -> Set[Enum]:
        """The driver's capabilities."""
        return self.driver.capabilities()

    async def clear(self) -> None:
        """No copy of the member on either host."""
        self.progress.clear()
        await self.driver.remove(self.member.id, self.target)
        await self.driver.remove(self.member.id, self.source)

    # --- one copy ---------------------------------------------------------------------------------------------------

    @check()
    async def a_member_is_absent_at_first(self) -> None:
        await self._see(source=RunState.ABSENT, target=RunState.ABSENT)

    @check()
    async def create_makes_it_running(self) -> None:
        await self.driver.create(self.member, self.source)
        await self._see(source=RunState.RUNNING, target=RunState.ABSENT)

    @check()
    async def create_twice_is_one(self) -> None:
        await self.driver.create(self.member, self.source)
        await self.driver.create(self.member, self.source)
        await self._see(source=RunState.RUNNING, target=RunState.ABSENT)
        await self.driver.remove(self.member.id, self.source)
        await self._see(source=RunState.ABSENT, target=RunState.ABSENT)

    @check()
    async def create_refuses_where_a_copy_waits_for_state(self) -> None:
        await self.driver.prepare(self.member, self.target)
        await require_raises(
            PermanentError, self.driver.create(self.member, self.target), words="create over an incoming copy"
        )
        await self._see(source=RunState.ABSENT, target=RunState.INCOMING)

    @check()
    async def resume_of_a_running_one_leaves_it_running(self) -> None:
        await self.driver.create(self.member, self.source)
        _require_time(await self.driver.resume(self.member, self.source), "resume")
        await self._see(source=RunState.RUNNING, target=RunState.ABSENT)

    @check()
    async def resume_refuses_what_is_absent(self) -> None:
        await require_raises(
            DriverError, self.driver.resume(self.member, self.source), words="resume of an absent member"
        )

    @check()
    async def prepare_makes_it_incoming(self) -> None:
        await self.driver.create(self.member, self.source)
        await self.driver.prepare(self.member, self.target)
        await self._see(source=RunState.RUNNING, target=RunState.INCOMING)

    @check()
    async def prepare_twice_is_one(self) -> None:
        await self._prepared()
        await self.driver.prepare(self.member, self.target)
        await self._see(source=RunState.RUNNING, target=RunState.INCOMING)
        await self.driver.remove(self.member.id, self.target)
        await self._see(source=RunState.RUNNING, target=RunState.ABSENT)

    @check()
    async def prepare_refuses_where_another_copy_is(self) -> None:
        await self.driver.create(self.member, self.source)
        await require_raises(
            PermanentError, self.driver.prepare(self.member, self.source), words="prepare where it runs"
        )
        await self._see(source=RunState.RUNNING, target=RunState.ABSENT)

    @check()
    async def resume_refuses_a_copy_without_state(self) -> None:
        await self._prepared()
        await require_raises(
            PermanentError, self.driver.resume(self.member, self.target), words="resume of an incoming copy"
        )
        await self._see(source=RunState.RUNNING, target=RunState.INCOMING)

    # --- copying ----------------------------------------------------------------------------------------------------

    @check(*HELD)
    async def copy_holds_while_the_member_runs(self) -> None:
        await self._see_round(await self._copied())
        last = self.progress[-1] if self.progress else None
        require(last is not None, "copy reported no progress")
        require(last is not None and last.member == self.member.id, f"progress of another member: {last}")
        require(last is not None and last.copied > 0, f"nothing was copied: {last}")

    @check(*HELD)
    async def refresh_holds_again(self) -> None:
        await self._copied()
        for _ in range(2):
            await self._see_round(await self.driver.refresh(self.member, source=self.source, pace=_PACE))

    @check(*HELD)
    async def copy_refuses_a_target_that_is_not_prepared(self) -> None:
        await self.driver.create(self.member, self.source)
        await require_raises(DriverError, self._copy(), words="copy to a host where nothing is prepared")
        await self._see(source=RunState.RUNNING, target=RunState.ABSENT)

    @check(*HELD)
    async def a_member_is_copied_once_at_a_time(self) -> None:
        await self._copied()
        await require_raises(PermanentError, self._copy(), words="copy of what is being copied")

    @check(*HELD)
    async def refresh_refuses_without_a_copy(self) -> None:
        await self.driver.create(self.member, self.source)
        refresh = self.driver.refresh(self.member, source=self.source, pace=_PACE)
        await require_raises(PermanentError, refresh, words="refresh without a copy under way")
        await self._see(source=RunState.RUNNING, target=RunState.ABSENT)

    @check(*HELD)
    async def a_held_member_stays_held_whatever_pace_it_is_given(self) -> None:
        held = await self._copied()
        await self.driver.repace(self.member, source=self.source, pace=_PACE)
        await self._see_round(held)
        await self._see_round(await self.driver.refresh(self.member, source=self.source, pace=_PACE))

    @check(*HELD)
    async def repace_refuses_without_a_copy(self) -> None:
        await self.driver.create(self.member, self.source)
        repace = self.driver.repace(self.member, source=self.source, pace=_PACE)
        await require_raises(PermanentError, repace, words="repace without a copy under way")

    # --- stopping and draining --------------------------------------------------------------------------------------

    @check(Capability.ALIGNED_STOP)
    async def stop_pauses_it_and_tells_when(self) -> None:
        await self.driver.create(self.member, self.source)
        _require_time(await self.driver.stop(self.member, source=self.source), "stop")
        await self._see(source=RunState.PAUSED, target=RunState.ABSENT)

    @check(Capability.ALIGNED_STOP)
    async def stop_twice_tells_the_same_time(self) -> None:
        await self.driver.create(self.member, self.source)
        first = await self.driver.stop(self.member, source=self.source)
        second = await self.driver.stop(self.member, source=self.source)
        require(first == second, f"stopped at {first}, and when asked again at {second}")
        await self._see(source=RunState.PAUSED, target=RunState.ABSENT)

    @check(Capability.ALIGNED_STOP)
    async def a_stopped_member_runs_again(self) -> None:
        await self.driver.create(self.member, self.source)
        stopped = await self.driver.stop(self.member, source=self.source)
        resumed = await self.driver.resume(self.member, self.source)
        require(resumed >= stopped, f"resumed at {resumed}, before it was stopped at {stopped}")
        await self._see(source=RunState.RUNNING, target=RunState.ABSENT)

    @check(*STOPPED)
    async def stop_pauses_a_held_member(self) -> None:
        await self._stopped()
        require(await self._state(self.source) is RunState.PAUSED, "the source still runs")
        require(await self._state(self.target) is not RunState.RUNNING, "the target runs, and nobody has resumed it")

    @check(*STOPPED)
    async def stopped_tells_the_time_of_the_stop_to_who_waits_for_it(self) -> None:
        await self._copied()
        waiting = asyncio.create_task(self._wait_stopped())
        stopped_at = await self.driver.stop(self.member, source=self.source)
        told = await asyncio.wait_for(waiting, _TOLD_WITHIN_S)
        require(told == stopped_at, f"stopped at {stopped_at}, and told {told}")

    @check(*HELD)
    async def stopped_refuses_without_a_copy(self) -> None:
        await self.driver.create(self.member, self.source)
        await require_raises(PermanentError, self._wait_stopped(), words="stopped without a copy under way")

    @check(*DRAINED)
    async def drain_refuses_without_a_copy(self) -> None:
        await self.driver.create(self.member, self.source)
        await self.driver.stop(self.member, source=self.source)
        await require_raises(PermanentError, self._drain(), words="drain without a copy under way")

    @check(*DRAINED)
    async def drain_makes_the_target_paused_and_not_running(self) -> None:
        await self._stopped()
        copied = await self._drain()
        require(copied > 0, f"drained, with {copied} bytes copied in all")
        await self._see(source=RunState.PAUSED, target=RunState.PAUSED)

    @check(*DRAINED)
    async def drain_twice_tells_the_same(self) -> None:
        await self._stopped()
        first, second = await self._drain(), await self._drain()
        require(first == second, f"drained with {first} bytes, and when asked again with {second}")
        await self._see(source=RunState.PAUSED, target=RunState.PAUSED)

    @check(*DRAINED)
    async def resume_makes_the_target_run(self) -> None:
        await self._drained()
        _require_time(await self.driver.resume(self.member, self.target), "resume")
        await self._see(source=RunState.PAUSED, target=RunState.RUNNING)

    @check(*DRAINED)
    async def resume_twice_tells_the_same_time(self) -> None:
        await self._drained()
        first = await self.driver.resume(self.member, self.target)
        second = await self.driver.resume(self.member, self.target)
        require(first == second, f"resumed at {first}, and when asked again at {second}")
        await self._see(source=RunState.PAUSED, target=RunState.RUNNING)

    @check(*DRAINED)
    async def a_moved_member_stays_when_its_source_is_removed(self) -> None:
        await self._drained()
        await self.driver.resume(self.member, self.target)
        await self.driver.remove(self.member.id, self.source)
        await self._see(source=RunState.ABSENT, target=RunState.RUNNING)

    # --- giving up --------------------------------------------------------------------------------------------------

    @check(*DRAINED, Capability.ABORT_AFTER_DRAIN)
    async def the_source_runs_again_after_a_drain_when_the_target_is_removed(self) -> None:
        await self._drained()
        await self.driver.remove(self.member.id, self.target)
        await self.driver.abandon(self.member, source=self.source)
        _require_time(await self.driver.resume(self.member, self.source), "resume")
        await self._see(source=RunState.RUNNING, target=RunState.ABSENT)

    @check(*DRAINED, Capability.ABORT_AFTER_DRAIN)
    async def the_source_runs_again_after_a_drain_while_the_target_stays_paused(self) -> None:
        await self._drained()
        await self.driver.abandon(self.member, source=self.source)
        await self.driver.resume(self.member, self.source)
        await self._see(source=RunState.RUNNING, target=RunState.PAUSED)

    @check()
    async def abandon_without_a_copy_changes_nothing(self) -> None:
        await self.driver.abandon(self.member, source=self.source)
        await self._prepared()
        await self.driver.abandon(self.member, source=self.source)
        await self._see(source=RunState.RUNNING, target=RunState.INCOMING)

    @check(*HELD)
    async def abandon_of_a_held_copy_leaves_the_source_running(self) -> None:
        await self._copied()
        if await self._state(self.source) is RunState.RUNNING:
            await self._abandon_keeps_the_source()

    @check(*HELD)
    async def abandon_of_a_refreshed_copy_leaves_the_source_running(self) -> None:
        await self._copied()
        await self.driver.refresh(self.member, source=self.source, pace=_PACE)
        if await self._state(self.source) is RunState.RUNNING:
            await self._abandon_keeps_the_source()

    @check(*HELD)
    async def a_source_that_stopped_by_itself_can_run_after_its_copy_is_abandoned(self) -> None:
        await self._copied()
        for _ in range(2):
            await self.driver.refresh(self.member, source=self.source, pace=_PACE)
        await self.driver.abandon(self.member, source=self.source)
        await self.driver.resume(self.member, self.source)
        require(await self._state(self.source) is RunState.RUNNING, "the source does not run again")

    @check(*STOPPED)
    async def abandon_of_a_stopped_copy_leaves_the_source_paused(self) -> None:
        await self._stopped()
        await self._abandon_keeps_the_source()

    @check(*DRAINED)
    async def abandon_of_a_drained_copy_leaves_the_source_paused(self) -> None:
        await self._drained()
        await self._abandon_keeps_the_source()

    @check(*STOPPED)
    async def the_source_runs_again_after_an_abandoned_stop(self) -> None:
        await self._stopped()
        await self.driver.abandon(self.member, source=self.source)
        await self.driver.resume(self.member, self.source)
        require(await self._state(self.source) is RunState.RUNNING, "the source does not run again")

    @check(*HELD)
    async def an_abandoned_copy_never_runs(self) -> None:
        await self._copied()
        await self.driver.abandon(self.member, source=self.source)
        await require_raises(
            DriverError, self.driver.resume(self.member, self.target), words="resume of a copy that is not whole"
        )

    @check(*DRAINED)
    async def a_copy_can_begin_anew_after_one_was_abandoned(self) -> None:
        await self._copied()
        await self.driver.abandon(self.member, source=self.source)
        await self.driver.resume(self.member, self.source)  # it may have stopped by itself
        await self.driver.remove(self.member.id, self.target)
        await self.driver.prepare(self.member, self.target)
        await self._see_round(await self._copy())
        await self.driver.stop(self.member, source=self.source)
        await self._drain()
        await self._see(source=RunState.PAUSED, target=RunState.PAUSED)

    # --- removing ---------------------------------------------------------------------------------------------------

    @check()
    async def remove_of_what_is_absent_is_nothing(self) -> None:
        await self.driver.remove(self.member.id, self.source)
        await self._see(source=RunState.ABSENT, target=RunState.ABSENT)

    @check()
    async def remove_takes_a_running_and_an_incoming_copy_away(self) -> None:
        await self._prepared()
        await self._remove_twice()

    @check(*STOPPED)
    async def remove_takes_a_stopped_copy_away(self) -> None:
        await self._stopped()
        await self._remove_twice()

    @check(*DRAINED)
    async def remove_takes_drained_copies_away(self) -> None:
        await self._drained()
        await self._remove_twice()

    @check(*HELD)
    async def the_source_goes_on_when_the_target_of_its_copy_is_removed(self) -> None:
        await self._copied()
        before = await self._state(self.source)
        await self.driver.remove(self.member.id, self.target)
        await self._see(source=before, target=RunState.ABSENT)

    # --- the hypervisor's own migration -----------------------------------------------------------------------------

    @check(Capability.MIGRATE)
    async def migrate_ends_with_the_target_running_and_the_source_paused(self) -> None:
        await self.driver.create(self.member, self.source)
        await self.driver.prepare(self.member, self.target, autostart=True)
        done = await self.driver.migrate(
            self.member, source=self.source, target=self.target, progress=self.progress.append
        )
        _require_time(done.paused_at, "migrate")
        _require_time(done.resumed_at, "migrate")
        require(done.bytes > 0, f"migrated with {done.bytes} bytes")
        await self._see(source=RunState.PAUSED, target=RunState.RUNNING)

    # --- what cannot be done ----------------------------------------------------------------------------------------

    @check()
    async def what_is_no_capability_is_refused_as_unsupported(self) -> None:
        await self._prepared()
        member, source, target = self.member, self.source, self.target
        lacking = frozenset(Capability) - self.driver.capabilities()
        if Capability.HOLD in lacking:
            await require_raises(UnsupportedError, self._copy(), words="copy without HOLD")
            refresh = self.driver.refresh(member, source=source, pace=_PACE)
            await require_raises(UnsupportedError, refresh, words="refresh without HOLD")
            repace = self.driver.repace(member, source=source, pace=_PACE)
            await require_raises(UnsupportedError, repace, words="repace without HOLD")
        if Capability.ALIGNED_STOP in lacking:
            stop = self.driver.stop(member, source=source)
            await require_raises(UnsupportedError, stop, words="stop without ALIGNED_STOP")
        if Capability.COMPLETE_PAUSED in lacking:
            await require_raises(UnsupportedError, self._drain(), words="drain without COMPLETE_PAUSED")
        if Capability.MIGRATE in lacking:
            migrate = self.driver.migrate(member, source=source, target=target, progress=self.progress.append)
            await require_raises(UnsupportedError, migrate, words="migrate without MIGRATE")
        await self._see(source=RunState.RUNNING, target=RunState.INCOMING)

    @check(*DRAINED)
    async def a_drained_source_is_refused_where_it_cannot_run_again(self) -> None:
        if Capability.ABORT_AFTER_DRAIN in self.driver.capabilities():
            return
        await self._drained()
        await require_raises(
            UnsupportedError,
            self.driver.resume(self.member, self.source),
            words="resume of a drained source without ABORT_AFTER_DRAIN",
        )
        await self._see(source=RunState.PAUSED, target=RunState.PAUSED)

    # --- how far a check has to go first ----------------------------------------------------------------------------

    async def _prepared(self) -> None:
        await self.driver.create(self.member, self.source)
        await self.driver.prepare(self.member, self.target)

    async def _copied(self) -> CopyRound:
        await self._prepared()
        if self._booted is not None:
            await self._booted()
        return await self._copy()

    async def _stopped(self) -> None:
        await self._copied()
        await self.driver.stop(self.member, source=self.source)

    async def _drained(self) -> None:
        await self._stopped()
        await self._drain()

    async def _copy(self) -> CopyRound:
        return await self.driver.copy(
            self.member, source=self.source, target=self.target, progress=self.progress.append
        )

    async def _wait_stopped(self) -> float:
        return await self.driver.stopped(self.member, source=self.source)

    async def _drain(self) -> int:
        return await self.driver.drain(self.member, source=self.source, target=self.target)

    # --- what is seen -----------------------------------------------------------------------------------------------

    async def _state(self, host: HostId) -> RunState:
        return await self.driver.look(self.member.id, host)

    async def _see(self, *, source: RunState, target: RunState) -> None:
        seen = (await self._state(self.source), await self._state(self.target))
        require(
            seen == (source, target),
            f"{self.member.id} is {seen[0].value} at the source and {seen[1].value} at the target,"
            f" not {source.value} and {target.value}",
        )

    async def _see_round(self, held: CopyRound) -> None:
        require(held.left >= 0, f"{held.left} bytes left")
        if self._booted is not None or await self._state(self.source) is RunState.RUNNING:
            await self._see(source=RunState.RUNNING, target=RunState.INCOMING)
        else:
            # The pass found nothing left, and the member stopped by itself: then whoever asks is told.
            _require_time(await self.driver.stopped(self.member, source=self.source), "stopped")
            target = await self._state(self.target)
            require(target is not RunState.RUNNING, "the target runs, and nobody has resumed it")

    async def _abandon_keeps_the_source(self) -> None:
        before = await self._state(self.source)
        for time in ("once", "twice"):
            await self.driver.abandon(self.member, source=self.source)
            after = await self._state(self.source)
            require(after is before, f"abandoned {time}, the source is {after.value}; it was {before.value}")

    async def _remove_twice(self) -> None:
        for _ in range(2):
            await self.driver.remove(self.member.id, self.target)
            await self.driver.remove(self.member.id, self.source)
            await self._see(source=RunState.ABSENT, target=RunState.ABSENT)


def _require_time(at: float, what: str) -> None:
    require(at > 0, f"{what} told the time {at}, which is no moment since the epoch")
