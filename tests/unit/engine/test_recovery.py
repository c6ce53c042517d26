"""A move whose orchestrator dies at any moment, and the next one that brings it to its end."""

import asyncio

import pytest
from engine_setup import EAST, LB, SHOP, WEST, Stage, a_group, host, run
from hypothesis import given, settings
from hypothesis import strategies as st

from entourage.drivers.memory import Fault
from entourage.engine.mover import GroupMover, Outcome, RecoveryError
from entourage.ports.errors import PermanentError, TemporaryError
from entourage.ports.hypervisor import RunState
from entourage.ports.journal import Decision
from entourage.switch import Group
from entourage.switch import types as sw

REASON = "its orchestrator died"


def calls_of_a_move() -> int:
    stage = Stage()
    stage.move(a_group())
    return len(stage.world.calls)


CALLS = calls_of_a_move()


async def killed_after(stage: Stage, mover: GroupMover, group: Group, calls: int, *, recovering: bool = False) -> bool:
    """Run until so many calls have been made, then nothing of it happens any more. False if it ended before."""
    until = len(stage.world.calls) + calls
    driving = asyncio.create_task(mover.recover(group, REASON) if recovering else mover.run(group))
    while not driving.done() and len(stage.world.calls) < until:  # noqa: ASYNC110 - step by step
        await asyncio.sleep(0)
    ended = driving.done()
    driving.cancel()
    await asyncio.gather(driving, return_exceptions=True)
    return not ended


def recovered(stage: Stage, group: Group, *kills: int, guarded: bool) -> Outcome:
    """The outcome of the orchestrator that lives, after as many that died as there are `kills`."""

    async def work() -> Outcome:
        await stage.rest()
        for number, calls in enumerate(kills):
            if await killed_after(stage, stage.mover(), group, calls, recovering=number > 0) and guarded:
                stage.guard.gone()
        return await stage.mover().recover(group, REASON)

    return run(work())


def require_whole(stage: Stage, outcome: Outcome) -> None:
    committed = stage.journal.decision is Decision.COMMIT
    assert isinstance(outcome.state, sw.Done if committed else sw.RolledBack)
    assert outcome.state.problems == ()
    assert stage.traces(home=WEST if committed else EAST) == []
    assert stage.world.violations == []


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("calls", range(CALLS))
def test_killed_after_any_call_it_ends_at_one_site(calls: int, guarded: bool) -> None:
    stage = Stage()
    require_whole(stage, recovered(stage, a_group(), calls, guarded=guarded))


@settings(max_examples=200)
@given(kills=st.lists(st.integers(0, CALLS), min_size=2, max_size=4), guarded=st.booleans())
def test_killed_again_while_it_recovers_it_ends_at_one_site(kills: list[int], guarded: bool) -> None:
    stage = Stage()
    outcome = recovered(stage, a_group(), *kills, guarded=guarded)
    if not isinstance(stage.journal.decision, Decision):
        pytest.fail("nobody has decided")
    require_whole(stage, outcome)


def test_a_guard_runs_the_sources_again_when_the_orchestrator_dies_in_the_drain() -> None:
    stage = Stage()

    async def work() -> None:
        await stage.rest()
        mover = stage.mover()
        stopped = asyncio.Event()
        stage.when[sw.Draining] = lambda _: stopped.set()
        driving = asyncio.create_task(mover.run(a_group()))
        await stopped.wait()
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
        stage.guard.gone()
        for member in SHOP.members:
            assert stage.world.copies[(member.id, host(member.id, EAST))].state is RunState.RUNNING

    run(work())


def test_a_member_that_runs_at_the_target_without_a_commit_is_left_alone() -> None:
    stage = Stage()

    async def work() -> None:
        await stage.rest()
        await stage.hypervisor.remove(LB, host(LB, EAST))
        await stage.hypervisor.create(SHOP.member(LB), host(LB, WEST))
        with pytest.raises(RecoveryError, match=r"lb run at west/h\d, and the journal has no commit"):
            await stage.mover().recover(a_group(), REASON)

    run(work())
    assert stage.world.running(LB) == [host(LB, WEST)]


def test_a_route_that_could_not_be_moved_is_moved_when_the_move_is_finished_later() -> None:
    stage = Stage()

    async def work() -> tuple[Outcome, list[str], Outcome]:
        await stage.rest()
        stage.world.inject(Fault(method="ingress.flip", error=TemporaryError("the edge is dead", delay=10), calls=32))
        first = await stage.mover().run(a_group())
        traces = stage.traces(home=WEST)
        return first, traces, await stage.mover().recover(a_group(), REASON)

    first, traces, second = run(work())
    assert isinstance(first.state, sw.Done)
    assert "the route could not be moved (the edge is dead)" in first.state.problems[0]
    assert traces == ["east announces: active", "west announces: staged", "east tunnels to west"]
    require_whole(stage, second)


def test_a_source_that_does_not_run_again_keeps_its_guard() -> None:
    stage = Stage()

    async def work() -> Outcome:
        await stage.rest()
        stage.world.inject(Fault(method="hypervisor.drain", error=PermanentError("it hangs")))
        stage.world.inject(Fault(method="hypervisor.resume", error=TemporaryError("it hangs", delay=0.5), calls=30))
        outcome = await stage.mover().run(a_group())
        assert [m.id for m in SHOP.members if stage.world.copies[(m.id, host(m.id, EAST))].state is RunState.PAUSED]
        stage.guard.gone()
        return outcome

    outcome = run(work())
    assert isinstance(outcome.state, sw.RolledBack)
    assert outcome.state.problems
    assert all(stage.world.copies[(m.id, host(m.id, EAST))].state is RunState.RUNNING for m in SHOP.members)
