"""What the mover does when the decision is uncertain, or a target is gone: found by the simulated world."""

from engine_setup import EAST, MEMBERS, WEB1, WEST, Stage, a_group, host, run

from entourage.drivers.memory import Fault
from entourage.ports.errors import OutcomeUnknownError, PermanentError
from entourage.ports.hypervisor import RunState
from entourage.ports.journal import Decision
from entourage.switch import types as sw


def test_a_commit_that_may_be_written_is_not_undone_when_a_later_attempt_is_refused() -> None:
    stage = Stage()
    unknown = Fault(method="journal.decide", error=OutcomeUnknownError("no reply came"), call=1, after=True)
    refused = Fault(method="journal.decide", error=PermanentError("the file is damaged"), call=2)
    outcome = stage.move(a_group(), before=lambda: stage.world.inject(unknown, refused))
    assert isinstance(outcome.state, sw.Done)
    assert stage.traces(home=WEST) == []


def test_a_target_that_is_gone_after_the_commit_is_told_and_keeps_nobody_from_the_end() -> None:
    stage = Stage()

    def shown(_: object) -> None:
        copy = stage.world.copies.pop((WEB1, host(WEB1, WEST)))
        assert copy.state is RunState.PAUSED

    stage.when[sw.Resuming] = shown
    outcome = stage.move(a_group())
    assert isinstance(outcome.state, sw.Done)
    assert outcome.state.problems[0].startswith("web1 is lost at the target")
    others = {member for member in MEMBERS if member != WEB1}
    assert {member: stage.world.running(member) for member in others} == {m: [host(m, WEST)] for m in others}
    assert stage.world.copies[(WEB1, host(WEB1, EAST))].state is RunState.PAUSED


def test_one_that_does_not_answer_does_not_keep_a_recovery_from_its_end() -> None:
    stage = Stage()
    silent = Fault(method="hypervisor.look", error=None, call=1)

    async def work() -> object:
        await stage.rest()
        stage.world.inject(silent)
        return (await stage.mover().recover(a_group(), "it was killed")).state

    assert isinstance(run(work()), sw.RolledBack)
    assert stage.journal.decision is Decision.BACK
