"""The loop without a clock: virtual time, order by chance, and a death that leaves no trace."""

import asyncio
from random import Random

import pytest

from entourage.twin.loop import Process, StuckError, VirtualLoop, run


def a_loop() -> VirtualLoop:
    return VirtualLoop()  # type: ignore[abstract]


def test_time_is_what_is_waited_for_and_nothing_else() -> None:
    async def work() -> list[float]:
        loop = asyncio.get_running_loop()
        at = [loop.time()]
        await asyncio.sleep(3600.0)
        at.append(loop.time())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.Event().wait()
        at.append(loop.time())
        await asyncio.gather(asyncio.sleep(1.0), asyncio.sleep(4.0))
        return [*at, loop.time()]

    assert run(work()) == [0.0, 3600.0, 3602.5, 3606.5]


def test_a_killed_process_does_nothing_any_more_not_even_finally() -> None:
    done: list[str] = []
    loop, victim = a_loop(), Process("victim")

    async def child() -> None:
        try:
            await asyncio.sleep(2.0)
        finally:
            done.append("child")

    async def work() -> None:
        task = asyncio.create_task(child())
        try:
            await task
        finally:
            done.append("parent")

    async def others() -> None:
        await asyncio.sleep(1.0)
        loop.kill(victim)
        await asyncio.sleep(10.0)

    loop.spawn(work(), victim)
    loop.run(loop.spawn(others(), Process("others")))
    assert done == []
    loop.bury()


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_what_is_ready_is_the_seeds(seed: int) -> None:
    def order_of(chance: Random | None) -> list[int]:
        order: list[int] = []

        async def note(number: int) -> None:
            order.append(number)

        async def work() -> None:
            await asyncio.gather(*(note(number) for number in range(8)))

        run(work(), order=chance)
        return order

    assert order_of(None) == list(range(8))
    assert order_of(Random(seed)) == order_of(Random(seed)) != list(range(8))


def test_who_waits_for_nothing_is_told() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StuckError, match="nothing will ever happen"):
        run(work())
