"""Moves outlive the process that drives them, on each kind of database."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from entourage.engine.durable import DurableMoves, create_moves, known_moves
from entourage.ports.right import RightLostError

MOVE, DOCUMENT, RESULT = "shop-1", {"service": "shop"}, {"outcome": "committed"}

# Begins a move, says so when it is at it, and never ends it.
BEGINNER = """
import asyncio, sys
from entourage.engine.durable import DurableMoves

async def drive():
    print("driving", flush=True)
    await asyncio.Future()

async def main(url):
    async with DurableMoves(url, recover=None) as moves:
        await moves.begin("shop-1", {"service": "shop"}, drive)

asyncio.run(main(sys.argv[1]))
"""

STANDS_STILL = """print("driving", flush=True); sys.stdin.read()"""


@pytest.fixture
def url(new_database: str) -> str:
    create_moves(new_database)
    return new_database


async def unasked(move: str, document: Mapping[str, Any]) -> dict[str, Any]:
    raise AssertionError(f"nobody asked to recover {move}: {document}")


def within_a_minute(work: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work(), 60))


def test_a_result_is_kept(url: str) -> None:
    async def drive() -> dict[str, Any]:
        return dict(RESULT)

    async def work() -> None:
        async with DurableMoves(url, recover=unasked) as moves:
            assert await moves.begin(MOVE, DOCUMENT, drive) == RESULT

    assert known_moves(url) == []
    within_a_minute(work)
    (move,) = known_moves(url)
    assert (move.move, move.document, move.ended) == (MOVE, DOCUMENT, RESULT)


def test_one_whose_process_was_killed_is_recovered_once_by_another(url: str) -> None:
    with subprocess.Popen([sys.executable, "-c", BEGINNER, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "driving\n"
        process.kill()
    (move,) = known_moves(url)
    assert move.ended is None
    asked: list[tuple[str, Mapping[str, Any]]] = []

    async def recover(move: str, document: Mapping[str, Any]) -> dict[str, Any]:
        asked.append((move, document))
        return {"outcome": "rolled-back"}

    async def work() -> None:
        async with DurableMoves(url, recover=recover) as moves:
            assert await moves.take_over([move]) == {MOVE: {"outcome": "rolled-back"}}

    within_a_minute(work)
    assert asked == [(MOVE, DOCUMENT)]
    (move,) = known_moves(url)
    assert move.ended == {"outcome": "rolled-back"}


def test_one_whose_process_lives_and_stands_still_is_recovered_by_the_one_that_was_asked(url: str) -> None:
    command = [sys.executable, "-c", BEGINNER.replace('print("driving", flush=True)', STANDS_STILL), url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "driving\n"

        async def recover(move: str, document: Mapping[str, Any]) -> dict[str, Any]:
            return {"outcome": "rolled-back"}

        async def work() -> None:
            async with DurableMoves(url, recover=recover) as moves:
                assert await moves.take_over(known_moves(url)) == {MOVE: {"outcome": "rolled-back"}}

        within_a_minute(work)
        assert process.poll() is None
        process.kill()
    assert [move.ended for move in known_moves(url)] == [{"outcome": "rolled-back"}]


def test_one_that_may_no_longer_drive_leaves_the_move_open_for_the_one_that_may(url: str) -> None:
    async def lose(*_: object) -> dict[str, Any]:
        raise RightLostError("process 7 on m2 drives now")

    async def recover(move: str, document: Mapping[str, Any]) -> dict[str, Any]:
        return dict(RESULT)

    async def begin() -> None:
        async with DurableMoves(url, recover=unasked) as moves:
            with pytest.raises(RightLostError, match="process 7"):
                await moves.begin(MOVE, DOCUMENT, lose)

    async def take_over(recover: Callable[..., Any]) -> dict[str, Any]:
        async with DurableMoves(url, recover=recover) as moves:
            return await moves.take_over(known_moves(url))

    within_a_minute(begin)
    assert [move.ended for move in known_moves(url)] == [None]
    with pytest.raises(RightLostError):
        within_a_minute(lambda: take_over(lose))
    assert [move.ended for move in known_moves(url)] == [None]
    assert within_a_minute(lambda: take_over(recover)) == {MOVE: RESULT}
    assert [move.ended for move in known_moves(url)] == [RESULT]
