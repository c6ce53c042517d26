"""The group mover on drivers in memory: whole moves, and every step that can fail."""

import asyncio
from collections.abc import Sequence

import pytest
from engine_setup import (
    EAST,
    INSIDE,
    LB,
    MEMBERS,
    RT,
    SERVERS,
    SHOP,
    WEB1,
    WEST,
    Stage,
    a_group,
    abort,
    host,
    run,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from entourage.drivers.memory import Fault
from entourage.engine.mover import Outcome
from entourage.model.ids import MemberId
from entourage.ports.errors import OutcomeUnknownError, PermanentError, TemporaryError
from entourage.ports.hypervisor import RunState
from entourage.ports.journal import Decision
from entourage.switch import Group
from entourage.switch import types as sw

ERRORS: dict[str, Exception | None] = {
    "temporary": TemporaryError("busy", delay=3.0),
    "permanent": PermanentError("it burns"),
    "unknown": OutcomeUnknownError("no reply came"),
    "connection": ConnectionError("reset"),
    "bug": KeyError("what a driver never raises"),
    "no answer": None,
}
# The whole group's calls before the commit, and how many there are of each.
STEPS = {
    "hypervisor.prepare": 5,
    "watch.start": 1,
    "ingress.stage": 1,
    "hypervisor.copy": 5,
    "hypervisor.refresh": 5,
    "hypervisor.stop": 5,
    "hypervisor.drain": 5,
    "guard.arm": 1,
    "guard.disarm": 1,
}
FAULT_AT_EACH_STEP = [
    Fault(method=method, error=error, call=call, after=after)
    for method, count in STEPS.items()
    for call in sorted({1, count})
    for error in ERRORS.values()
    for after in (False, True)
    # A stop that is done and not answered is told by who watches the member: no failure, and a test of its own.
    if not (method == "hypervisor.stop" and error is None and after)
]
FORWARD = ["hypervisor.resume", "ingress.flip"]
UNDOING = [
    "hypervisor.look",
    "hypervisor.abandon",
    "hypervisor.resume",
    "hypervisor.remove",
    "ingress.untunnel",
    "ingress.withdraw",
]
CLEANING = ["hypervisor.remove", "ingress.withdraw", "watch.wait_quiet", "ingress.activate", "ingress.untunnel"]


def fault_id(fault: Fault) -> str:
    error = type(fault.error).__name__ if fault.error is not None else "no answer"
    return f"{fault.method} {fault.call} {error} {'done' if fault.after else 'not done'}"


def rolled_back(stage: Stage, outcome: Outcome) -> sw.RolledBack:
    """All at the source and nothing else anywhere."""
    assert isinstance(outcome.state, sw.RolledBack)
    assert stage.traces(home=EAST) == []
    assert stage.world.violations == []
    return outcome.state


def done(stage: Stage, outcome: Outcome) -> sw.Done:
    """All at the target and nothing else anywhere."""
    assert isinstance(outcome.state, sw.Done)
    assert stage.traces(home=WEST) == []
    assert stage.world.violations == []
    return outcome.state


def test_a_whole_move_ends_with_all_at_the_target_and_nothing_left() -> None:
    stage = Stage()
    state = done(stage, stage.move(a_group()))
    assert state.problems == ()
    assert stage.journal.decision is Decision.COMMIT
    assert stage.states == [
        sw.Preparing,
        sw.Copying,
        sw.Converging,
        sw.Stopping,
        sw.Draining,
        sw.Disarming,
        sw.Committing,
        sw.Resuming,
        sw.Verifying,
        sw.Cleaning,
        sw.Done,
    ]
    assert {progress.member for progress in stage.progress} == set(MEMBERS)
    assert all(copied >= SHOP.member(member).memory for member, copied in state.times.copied.items())


def test_nobody_runs_at_the_target_before_the_last_stands_still_at_the_source() -> None:
    stage = Stage()
    times = done(stage, stage.move(a_group())).times
    assert max(times.stopped.values()) < min(times.resumed.values())


def test_the_commit_is_recorded_after_all_are_drained_and_before_one_resumes() -> None:
    stage = Stage()
    done(stage, stage.move(a_group()))
    kinds = [call.split()[0] for call in stage.world.calls]
    commit = kinds.index("journal.decide")
    assert [k for k in kinds[commit:] if k in ("hypervisor.stop", "hypervisor.drain")] == []
    assert [k for k in kinds[:commit] if k in ("hypervisor.resume", "ingress.flip", "hypervisor.remove")] == []


def test_servers_alone_move_with_a_stretched_segment_and_come_back_without() -> None:
    stage = Stage()

    async def both_ways() -> tuple[Outcome, Outcome]:
        await stage.rest()
        there = await stage.mover().run(a_group(order=SERVERS))
        assert stage.world.stretched == {(SHOP.id, INSIDE): frozenset({EAST, WEST})}
        assert sorted(h for m in SERVERS for h in stage.world.running(m)) == [host(m, WEST) for m in SERVERS]
        back = await stage.mover().run(a_group(order=SERVERS, source=WEST, target=EAST))
        return there, back

    there, back = run(both_ways())
    assert isinstance(there.state, sw.Done)
    assert there.state.problems == ()
    assert isinstance(back.state, sw.Done)
    assert back.state.problems == ()
    assert stage.traces(home=EAST) == []
    assert stage.world.violations == []


def test_a_member_that_stops_by_itself_while_converging_takes_the_others_with_it() -> None:
    stage = Stage()

    stage.when[sw.Converging] = lambda _: stage.world.still.add(LB)
    assert done(stage, stage.move(a_group())).problems == ()
    kinds = [call.split()[0] for call in stage.world.calls]
    assert kinds.count("hypervisor.refresh") == len(MEMBERS)  # one round, and no second one


# --- failures before the commit -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULT_AT_EACH_STEP, ids=fault_id)
def test_a_failure_before_the_commit_puts_everything_back(fault: Fault) -> None:
    stage = Stage()
    state = rolled_back(stage, stage.move(a_group(), before=lambda: stage.world.inject(fault)))
    assert state.problems == ()
    asked = fault.method.partition(".")[2]
    assert asked in state.reason or fault.method in ("watch.start", "ingress.stage")
    assert str(fault.error) in state.reason if fault.error is not None else "no answer within" in state.reason


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", ["temporary", "unknown", "connection", "no answer"])
def test_a_commit_that_may_be_recorded_or_not_is_asked_for_until_that_is_known(error: str, after: bool) -> None:
    stage = Stage()
    fault = Fault(method="journal.decide", error=ERRORS[error], calls=3, after=after)
    assert done(stage, stage.move(a_group(), before=lambda: stage.world.inject(fault))).problems == ()
    assert stage.world.count("journal.decide") == 4


def test_a_commit_that_is_certainly_not_recorded_puts_everything_back() -> None:
    stage = Stage()
    fault = Fault(method="journal.decide", error=PermanentError("the disk is full"))
    assert (
        "the disk is full" in rolled_back(stage, stage.move(a_group(), before=lambda: stage.world.inject(fault))).reason
    )


def test_a_guard_that_has_run_a_member_again_puts_everything_back() -> None:
    stage = Stage()
    stage.when[sw.Disarming] = lambda _: stage.guard.gone()
    assert "the guard has run" in rolled_back(stage, stage.move(a_group())).reason


def test_a_redirect_that_comes_too_late_does_not_come_any_more() -> None:
    stage = Stage()
    stage.world.slow["ingress.tunnel"] = 20
    assert done(stage, stage.move(a_group())).problems == ()


def test_stops_that_are_done_and_never_answered_do_not_disturb_the_move() -> None:
    stage = Stage()
    stage.world.inject(Fault(method="hypervisor.stop", error=None, calls=5, after=True))
    stage.world.inject(Fault(method="hypervisor.resume", error=None, calls=5))  # longer than a stop may take
    assert done(stage, stage.move(a_group())).problems == ()


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
def test_a_segment_that_does_not_stretch_puts_everything_back(error: Exception | None) -> None:
    stage = Stage()
    fault = Fault(method="segments.stretch", error=error, after=True)
    rolled_back(stage, stage.move(a_group(order=SERVERS), before=lambda: stage.world.inject(fault)))


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("method", ["hypervisor.stop", "hypervisor.drain"])
def test_all_calls_of_a_step_failing_puts_everything_back(method: str, error: Exception | None) -> None:
    stage = Stage()
    fault = Fault(method=method, error=error, calls=100)
    rolled_back(stage, stage.move(a_group(), before=lambda: stage.world.inject(fault)))


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
def test_without_a_redirect_the_move_goes_on(error: Exception | None) -> None:
    stage = Stage()
    outcome = stage.move(a_group(), before=lambda: stage.world.inject(Fault(method="ingress.tunnel", error=error)))
    done(stage, outcome)
    told = any("redirect failed" in mark.what for mark in outcome.marks)
    assert told or error is None  # nobody waits for the answer


def test_a_pass_that_never_ends_does_not_disturb_what_follows_its_stop() -> None:
    stage = Stage()
    stage.when[sw.Converging] = lambda _: stage.world.still.add(RT)  # stops by itself, and the last one's pass hangs
    stage.world.inject(Fault(method="hypervisor.refresh", error=None, call=len(MEMBERS)))
    stage.world.inject(Fault(method="hypervisor.resume", error=None, calls=50))  # longer than a pass may take
    assert done(stage, stage.move(a_group())).problems == ()


@pytest.mark.parametrize("moment", [sw.Preparing, sw.Copying, sw.Converging, sw.Stopping, sw.Draining])
@pytest.mark.parametrize("method", [*STEPS, "ingress.tunnel"])
def test_what_is_slow_does_not_happen_any_more_once_it_is_undone(method: str, moment: type) -> None:
    stage = Stage(when={moment: abort})
    stage.world.slow[method] = 100
    stage.world.slow["ingress.withdraw"] = 150  # so that it would happen while the rest is being undone
    assert rolled_back(stage, stage.move(a_group())).problems == ()


# --- failures after the commit ------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("method", FORWARD)
def test_after_the_commit_a_failure_is_tried_again_until_it_is_done(
    method: str, error: Exception | None, *, after: bool
) -> None:
    stage = Stage()
    fault = Fault(method=method, error=error, calls=20, after=after)
    outcome = stage.move(a_group(), before=lambda: stage.world.inject(fault))
    assert done(stage, outcome).problems == ()
    assert sum("trying again" in mark.what for mark in outcome.marks) == 20


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("error", [ERRORS["temporary"], ERRORS["unknown"], ERRORS["bug"], None], ids=str)
@pytest.mark.parametrize("method", CLEANING)
def test_a_failure_in_the_cleaning_is_tried_again(method: str, error: Exception | None, *, after: bool) -> None:
    stage = Stage()
    fault = Fault(method=method, error=error, calls=2, after=after)
    state = done(stage, stage.move(a_group(), before=lambda: stage.world.inject(fault)))
    assert state.problems == ()


def test_what_is_tried_again_is_told_while_it_is() -> None:
    stage = Stage()
    fault = Fault(method="hypervisor.remove", error=TemporaryError("h1 is busy", delay=1.0))
    assert done(stage, stage.move(a_group(), before=lambda: stage.world.inject(fault))).problems == ()
    assert stage.retries == [f"remove rt on {host(RT, EAST)}: h1 is busy; trying again"]


def test_what_cannot_be_cleaned_is_told_and_the_rest_is_cleaned() -> None:
    stage = Stage()
    fault = Fault(method="hypervisor.remove", error=PermanentError("h1 is gone"))
    outcome = stage.move(a_group(), before=lambda: stage.world.inject(fault))
    assert isinstance(outcome.state, sw.Done)
    assert outcome.state.problems == (f"cleanup: remove rt on {host(RT, EAST)}: h1 is gone",)
    assert stage.traces(home=WEST) == [f"rt on {host(RT, EAST)}: paused"]


def test_a_route_that_is_not_withdrawn_keeps_its_tunnel() -> None:
    stage = Stage()
    fault = Fault(method="ingress.withdraw", error=PermanentError("no such neighbour"))
    outcome = stage.move(a_group(), before=lambda: stage.world.inject(fault))
    assert isinstance(outcome.state, sw.Done)
    assert outcome.state.problems == ("cleanup: withdraw at east: no such neighbour",)
    assert stage.traces(home=WEST) == [
        "east announces: active",
        "west announces: preferred",
        "east tunnels to west",
    ]


def test_a_service_that_does_not_answer_after_the_switch_is_told() -> None:
    stage = Stage()
    stage.verifier.found.append("web1 does not answer")
    assert done(stage, stage.move(a_group())).problems == ("web1 does not answer",)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
def test_a_verification_that_fails_is_told_and_the_cleaning_goes_on(error: Exception | None) -> None:
    stage = Stage()
    fault = Fault(method="verifier.problems", error=error)
    (problem,) = done(stage, stage.move(a_group(), before=lambda: stage.world.inject(fault))).problems
    assert problem.startswith("verify: ")


# --- aborts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [sw.Preparing, sw.Copying, sw.Converging, sw.Stopping, sw.Draining])
def test_an_abort_before_the_commit_puts_everything_back(moment: type) -> None:
    stage = Stage(when={moment: abort})
    state = rolled_back(stage, stage.move(a_group()))
    assert state.reason == "not now"
    assert state.problems == ()
    assert stage.journal.decision is None


@pytest.mark.parametrize("moment", [sw.Committing, sw.Resuming, sw.Verifying, sw.Cleaning])
def test_an_abort_after_the_commit_changes_nothing(moment: type) -> None:
    stage = Stage(when={moment: abort})
    assert done(stage, stage.move(a_group())).problems == ()


def abort_after(stage: Stage, group: Group, *, turns: int, faults: Sequence[Fault] = ()) -> Outcome:
    """A move that somebody aborts when the loop has turned so often."""

    async def work() -> Outcome:
        await stage.rest()
        stage.world.inject(*faults)
        mover = stage.mover()
        moving = asyncio.create_task(mover.run(group))
        for _ in range(turns):
            await asyncio.sleep(0)
        mover.abort("not now")
        return await moving

    return run(work())


@given(turns=st.integers(0, 250), still=st.sets(st.sampled_from(MEMBERS)), order=st.permutations(MEMBERS))
@settings(max_examples=60, deadline=None)
def test_an_abort_at_any_moment_leaves_all_at_one_site(turns: int, still: set[MemberId], order: list[MemberId]) -> None:
    """Also when members stop by themselves, and nobody has heard of it when the abort comes."""
    stage = Stage()
    stage.world.still |= still
    outcome = abort_after(stage, a_group(order=tuple(order)), turns=turns)
    if isinstance(outcome.state, sw.Done):
        done(stage, outcome)
    else:
        assert rolled_back(stage, outcome).problems == ()


FAULTS = st.builds(
    Fault,
    method=st.sampled_from([*STEPS, "ingress.tunnel", *FORWARD, *UNDOING, *CLEANING, "verifier.problems"]),
    error=st.sampled_from([e for e in ERRORS.values() if not isinstance(e, PermanentError)]),
    call=st.integers(1, 6),
    calls=st.integers(1, 2),
    after=st.booleans(),
)


@given(
    faults=st.lists(FAULTS, max_size=4, unique_by=lambda fault: fault.method),
    slow=st.dictionaries(st.sampled_from([*STEPS, "ingress.tunnel"]), st.integers(1, 30), max_size=2),
    turns=st.integers(0, 400),
)
@settings(max_examples=100, deadline=None)
def test_whatever_fails_and_whenever_it_is_aborted_all_end_at_one_site(
    faults: list[Fault], slow: dict[str, int], turns: int
) -> None:
    stage = Stage()
    stage.world.slow |= slow
    outcome = abort_after(stage, a_group(), turns=turns, faults=faults)
    (done if isinstance(outcome.state, sw.Done) else rolled_back)(stage, outcome)


# All are stopped, drained and redirected, and then it turns out that one was not.
FAILS_LATE = Fault(method="hypervisor.drain", error=PermanentError("link down"), call=len(MEMBERS), after=True)


# --- undoing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("error", [ERRORS["temporary"], ERRORS["unknown"], ERRORS["bug"], None], ids=str)
@pytest.mark.parametrize("method", UNDOING)
def test_a_failure_in_the_undoing_is_tried_again(method: str, error: Exception | None, *, after: bool) -> None:
    stage = Stage()
    fault = Fault(method=method, error=error, calls=2, after=after)
    assert (
        rolled_back(stage, stage.move(a_group(), before=lambda: stage.world.inject(FAILS_LATE, fault))).problems == ()
    )


@pytest.mark.parametrize("error", [PermanentError("it burns"), None], ids=["permanent", "no answer"])
@pytest.mark.parametrize(
    ("method", "left"),
    [
        ("ingress.untunnel", ["east tunnels to west"]),
        ("ingress.withdraw", ["west announces: staged"]),
        ("hypervisor.abandon", []),  # removing the target has ended the copy all the same
    ],
)
def test_what_cannot_be_undone_is_told_and_the_rest_is_undone(
    method: str, left: list[str], error: Exception | None
) -> None:
    stage = Stage()
    fault = Fault(method=method, error=error, calls=100)
    outcome = stage.move(a_group(), before=lambda: stage.world.inject(FAILS_LATE, fault))
    assert isinstance(outcome.state, sw.RolledBack)
    (problem,) = outcome.state.problems
    assert method.partition(".")[2] in problem
    assert stage.traces(home=EAST) == left
    assert stage.world.violations == []


def test_sources_that_cannot_run_again_are_told_and_the_rest_is_undone() -> None:
    stage = Stage()
    # At once, and once more when all others run and the traces are gone.
    faults = [Fault(method="hypervisor.resume", error=PermanentError("it burns"), call=c) for c in (1, 6)]
    outcome = stage.move(a_group(), before=lambda: stage.world.inject(FAILS_LATE, *faults))
    assert isinstance(outcome.state, sw.RolledBack)
    assert outcome.state.problems == (f"resume rt on {host(RT, EAST)}: it burns",)
    assert stage.traces(home=EAST, members=MEMBERS[1:]) == []


def test_a_source_that_runs_again_only_when_it_is_asked_once_more_is_no_problem() -> None:
    stage = Stage()
    fault = Fault(method="hypervisor.resume", error=PermanentError("it burns"))
    assert (
        rolled_back(stage, stage.move(a_group(), before=lambda: stage.world.inject(FAILS_LATE, fault))).problems == ()
    )


def test_a_copy_that_is_not_given_up_is_the_guards_until_it_is() -> None:
    """It may complete after all that was put back, and would stop the member once more."""
    stage = Stage()
    fault = Fault(method="hypervisor.abandon", error=PermanentError("it hangs"))
    assert (
        rolled_back(stage, stage.move(a_group(), before=lambda: stage.world.inject(FAILS_LATE, fault))).problems == ()
    )
    calls = [call.split()[:2] for call in stage.world.calls]
    again = max(index for index, call in enumerate(calls) if call == ["hypervisor.abandon", RT])
    assert calls[again + 1 :].count(["guard.disarm", SHOP.id]) == 1


def test_the_users_come_first_in_an_undoing() -> None:
    stage = Stage()
    rolled_back(stage, stage.move(a_group(), before=lambda: stage.world.inject(FAILS_LATE)))
    kinds = [call.split()[0] for call in stage.world.calls]
    last_resume = len(kinds) - 1 - kinds[::-1].index("hypervisor.resume")
    assert last_resume < kinds.index("hypervisor.remove")
    assert kinds.index("ingress.untunnel") < kinds.index("ingress.withdraw")


def test_an_undoing_does_not_touch_a_running_copy_that_made_the_preparing_fail() -> None:
    stage = Stage()

    async def work() -> Outcome:
        await stage.rest()
        await stage.hypervisor.remove(WEB1, host(WEB1, EAST))
        await stage.hypervisor.create(SHOP.member(WEB1), host(WEB1, WEST))
        return await stage.mover().run(a_group())

    outcome = run(work())
    assert isinstance(outcome.state, sw.RolledBack)
    assert stage.world.copies[WEB1, host(WEB1, WEST)].state is RunState.RUNNING
    assert any("not of this move" in problem for problem in outcome.state.problems)
    assert stage.world.violations == []


def test_a_member_that_stopped_by_itself_runs_again_although_the_abort_came_first() -> None:
    stage = Stage()
    stage.world.still.add(WEB1)
    # The pass in which it stops is over in the hypervisor, and its answer never arrives.
    fault = Fault(method="hypervisor.copy", error=None, call=MEMBERS.index(WEB1) + 1, after=True)
    rolled_back(stage, stage.move(a_group(), before=lambda: stage.world.inject(fault)))
