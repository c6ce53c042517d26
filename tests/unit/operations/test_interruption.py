"""Who wants long work to end is heard: by its task, or by what the work has named instead."""

import asyncio

import pytest

from entourage.operations.interruption import Interruption


def test_work_is_cancelled_once_and_its_cleaning_up_is_not() -> None:
    async def work() -> str:
        interruption = Interruption()
        try:
            interruption.ask("first")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            interruption.ask("second")
            await asyncio.sleep(0)
            return f"cleaned up after {interruption.reason}"
        return "went on"

    assert asyncio.run(work()) == "cleaned up after second"


def test_the_innermost_better_end_is_asked_for() -> None:
    async def work() -> list[str]:
        asked: list[str] = []
        interruption = Interruption()
        with interruption.instead(lambda why: asked.append(f"outer: {why}")):
            with interruption.instead(lambda why: asked.append(f"inner: {why}")):
                interruption.ask("a")
            interruption.ask("b")
        return asked

    assert asyncio.run(work()) == ["inner: a", "outer: b"]


def test_an_end_named_in_a_block_counts_in_it_only() -> None:
    async def work() -> None:
        interruption = Interruption()
        with interruption.instead(lambda _: None):
            interruption.ask("ignored")
            await asyncio.sleep(0)
        interruption.ask("heard")
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(work())
