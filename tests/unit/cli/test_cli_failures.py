"""The one place that turns errors into messages, and signals into orderly ends."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from cli_world import entourage, error_of, example_world

from entourage.cli.exits import Exit, InterruptedByUserError, guarded
from entourage.cli.failures import failure_of
from entourage.cli.output import Screen, show_json
from entourage.cli.running import run
from entourage.operations.interruption import Interruption
from entourage.ports.errors import OutcomeUnknownError, PermanentError, TemporaryError

world = pytest.fixture(autouse=True)(example_world)


@pytest.mark.parametrize(
    "error",
    [TemporaryError("busy", delay=1.0), PermanentError("no"), OutcomeUnknownError("?"), ConnectionResetError("gone")],
)
def test_a_drivers_error_is_told_in_its_own_words(error: Exception) -> None:
    failure = failure_of(error)
    assert (failure.code, failure.kind, failure.message) == (Exit.FAILED, "driver", str(error))


def test_a_fault_keeps_its_traceback_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(_: str, *, service: str) -> object:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr("entourage.cli.looking.look", look)
    result = entourage("status", "--json")
    assert result.exit_code == 1
    error = error_of(result)
    assert error["kind"] == "fault"
    assert "this is a fault in entourage" in error["message"]
    log = Path(error["log"]).read_text()
    assert "Traceback" in log
    assert "nobody thought of this" in log
    plain = entourage("status")
    assert "Traceback" not in plain.output
    assert "entourage-fault-" in plain.stderr


def test_a_known_error_in_a_group_is_found() -> None:
    group = BaseExceptionGroup("all", [ValueError("other"), ExceptionGroup("some", [PermanentError("no room")])])
    assert failure_of(group).message == "no room"


def test_a_pipe_that_nobody_reads_is_no_fault(capfd: pytest.CaptureFixture[str]) -> None:
    def write() -> None:
        raise BrokenPipeError

    assert guarded(write, as_json=False) == Exit.FAILED
    assert "fault" not in capfd.readouterr().err


def test_output_falls_silent_when_nobody_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        screen = Screen()
        screen.print("nobody hears this")
        screen.print("nor this")
        assert screen.quiet
        show_json({"nor": "this"})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_work_after_its_own_cleaning_up(number: signal.Signals) -> None:
    cleaned = []

    async def work(_: Interruption) -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    with pytest.raises(InterruptedByUserError):
        run(work)
    assert cleaned == [True]


def test_work_that_knows_a_better_end_is_asked_for_it_and_goes_on() -> None:
    heard: list[str] = []

    async def work(interruption: Interruption) -> str:
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        with interruption.instead(ended.set_result):
            os.kill(os.getpid(), signal.SIGINT)
            return await ended

    assert run(work, heard=heard.append) == "interrupted by SIGINT"
    assert heard == ["interrupted by SIGINT"]
