"""Who may drive moves: one process at a time, whatever becomes of its connection to the database."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from entourage.drivers import driving
from entourage.drivers.driving import DrivingRight, TakenError, is_driven
from entourage.drivers.records import RecordsError, create_records, sqlite_url
from entourage.ports.right import RightLostError, RightUnknownError
from postgres import Server

# Takes the right, says so, and keeps it.
HOLDER = """
import asyncio, sys
from entourage.drivers.driving import DrivingRight

async def main(url):
    await DrivingRight.take(url)
    print("taken", flush=True)
    await asyncio.Future()

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture
def url(postgres: Server) -> str:
    made = postgres.new_url()
    create_records(made)
    return made


@pytest.fixture
def asks_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "FRESH_S", 0.0)


@pytest.fixture
def holder(url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the right."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        yield process
        process.kill()


def with_right(url: str, work: Callable[[DrivingRight], Awaitable[None]]) -> None:
    async def whole() -> None:
        right = await DrivingRight.take(url)
        try:
            await work(right)
        finally:
            await right.give_back()

    asyncio.run(whole())


def test_while_one_has_it_no_other_gets_it_and_is_told_who_has(url: str) -> None:
    async def work(right: DrivingRight) -> None:
        assert is_driven(url)
        with pytest.raises(TakenError, match=f"process {os.getpid()} on "):
            await DrivingRight.take(url)
        await right.check()

    with_right(url, work)
    assert not is_driven(url)


def test_one_that_is_given_back_is_had_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "_GRACE_S", 3600.0)
    for _ in range(2):
        with_right(url, lambda right: right.check())


def test_after_one_that_was_killed_the_next_waits_until_it_cannot_act_any_more(
    url: str, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        assert is_driven(url)
        waited.append(seconds)

    monkeypatch.setattr("entourage.drivers.driving.asyncio.sleep", sleep)
    holder.send_signal(signal.SIGKILL)
    holder.wait()

    async def taken() -> None:
        while True:  # the server has yet to see that its client is gone
            try:
                right = await DrivingRight.take(url)
            except TakenError:
                continue
            await right.check()
            await right.give_back()
            return

    asyncio.run(asyncio.wait_for(taken(), 30))
    assert waited == [2 * driving.FRESH_S]
    assert not is_driven(url)


def test_two_databases_have_a_right_each(postgres: Server, url: str) -> None:
    other = postgres.new_url()
    create_records(other)

    async def work(_: DrivingRight) -> None:
        assert not is_driven(other)
        await (await DrivingRight.take(other)).give_back()

    with_right(url, work)


@pytest.mark.usefixtures("asks_always")
def test_one_whose_session_breaks_keeps_it_if_nobody_had_it_meanwhile(postgres: Server, url: str) -> None:
    async def work(right: DrivingRight) -> None:
        postgres.end_sessions(url)
        assert not is_driven(url)
        await right.check()
        assert is_driven(url)
        with pytest.raises(TakenError):
            await DrivingRight.take(url)

    with_right(url, work)


@pytest.mark.usefixtures("asks_always")
def test_one_whose_session_breaks_has_lost_it_if_another_had_it_meanwhile(
    postgres: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "_GRACE_S", 0.0)

    async def work(right: DrivingRight) -> None:
        postgres.end_sessions(url)
        other = await DrivingRight.take(url)
        with pytest.raises(RightLostError, match=f"process {os.getpid()} on .* drives the moves of this database now"):
            await right.check()
        await other.give_back()
        with pytest.raises(RightLostError, match="another process has driven"):
            await right.check()
        await right.give_back()  # which takes nothing from anybody
        third = await DrivingRight.take(url)
        await third.check()
        await third.give_back()

    with_right(url, work)


@pytest.mark.usefixtures("asks_always")
def test_while_the_database_is_gone_nobody_knows_and_afterwards_one_does(postgres: Server, url: str) -> None:
    async def work(right: DrivingRight) -> None:
        postgres.stop()
        try:
            with pytest.raises(RightUnknownError, match="does not say who drives"):
                await right.check()
            with pytest.raises(RecordsError):
                await DrivingRight.take(url)
            with pytest.raises(RecordsError):
                is_driven(url)
        finally:
            postgres.start()
        await right.check()

    with_right(url, work)


def test_what_was_asked_just_now_is_not_asked_again(postgres: Server, url: str) -> None:
    async def work(right: DrivingRight) -> None:
        postgres.end_sessions(url)
        await right.check()
        assert not is_driven(url)

    with_right(url, work)


def test_a_file_belongs_to_one_machine_and_there_is_nothing_to_ask(tmp_path: Path) -> None:
    file = sqlite_url(tmp_path / "moves.sqlite")
    create_records(file)

    async def work(right: DrivingRight) -> None:
        (tmp_path / "moves.sqlite").unlink()
        await right.check()
        assert not is_driven(file)

    with_right(file, work)
