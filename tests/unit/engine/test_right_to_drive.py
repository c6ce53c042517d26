"""A mover that may no longer drive does nothing more, and one that does not know waits until it does."""

import asyncio
from collections.abc import Callable

import pytest
from engine_setup import EAST, WEST, Stage, a_group, run
from hypothesis import given, settings
from hypothesis import strategies as st

from entourage.ports.journal import Decision
from entourage.ports.right import RightLostError, RightUnknownError
from entourage.switch import types as sw


class Rights:
    """`answer` is asked each time, with how often that was done before."""

    def __init__(self, answer: Callable[[int], Exception | None]) -> None:
        self.asked = 0
        self._answer = answer

    async def check(self) -> None:
        self.asked += 1
        if (error := self._answer(self.asked - 1)) is not None:
            raise error


def asked_in_a_move() -> int:
    right = Rights(lambda _: None)
    Stage(right=right).move(a_group())
    return right.asked


ASKED = asked_in_a_move()
LOST = RightLostError("process 7 on m2 drives the moves of this database now")


@pytest.mark.parametrize("answers", range(ASKED))
def test_after_the_right_is_lost_nothing_is_done_any_more_and_the_next_ends_the_move(answers: int) -> None:
    calls: list[int] = []

    def answer(asked: int) -> Exception | None:
        if asked < answers:
            return None
        calls.append(len(stage.world.calls))
        return LOST

    stage = Stage(right=Rights(answer))

    async def work() -> None:
        await stage.rest()
        with pytest.raises(RightLostError, match="process 7 on m2"):
            await stage.mover().run(a_group())
        done = len(stage.world.calls)
        await asyncio.sleep(60)
        assert len(stage.world.calls) == done
        stage.right = None
        stage.guard.gone()
        await stage.mover().recover(a_group(), "its orchestrator has lost the right")

    run(work())
    committed = stage.journal.decision is Decision.COMMIT
    assert stage.traces(home=WEST if committed else EAST) == []
    assert stage.world.violations == []
    assert calls


def test_each_command_of_a_move_asks_first() -> None:
    assert ASKED > 20


@settings(max_examples=100)
@given(first=st.integers(0, ASKED - 1), times=st.integers(1, 40))
def test_while_nobody_knows_who_drives_a_move_waits_or_goes_back_and_nothing_is_left(first: int, times: int) -> None:
    unknown = RightUnknownError("the database of moves does not say who drives")
    stage = Stage(right=Rights(lambda asked: unknown if first <= asked < first + times else None))
    outcome = stage.move(a_group())
    committed = stage.journal.decision is Decision.COMMIT
    assert isinstance(outcome.state, sw.Done if committed else sw.RolledBack)
    assert stage.traces(home=WEST if committed else EAST) == []
    assert stage.world.violations == []
    assert [p for p in outcome.state.problems if "who drives" not in p] == []
