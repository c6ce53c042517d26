"""How long work is shown: lines where no terminal is, a picture where there is one."""

import io
import threading
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from entourage.cli.telling import LineTell, LiveTell, telling
from entourage.model.ids import MemberId
from entourage.ports.hypervisor import CopyProgress


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("entourage.cli.telling.time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def copied(member: str = "fw", *, copied: int = 10_000_000, held: bool = False) -> CopyProgress:
    return CopyProgress(member=MemberId(member), copied=copied, left=90_000_000, rate=200e6, passes=1, held=held)


def console(*, is_terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=is_terminal, width=120, markup=False, highlight=False), file


def test_lines_have_the_seconds_since_the_beginning(clock: Clock) -> None:
    to, file = console(is_terminal=False)
    tell = LineTell(to)
    tell.act(1, "Everything at east")
    clock.now += 12.34
    tell.phase("copying")
    tell.step("routers", 4, 6)
    tell.note("a note [with brackets]")
    assert file.getvalue().splitlines() == [
        "[   0.0 s] act 1: Everything at east",
        "[  12.3 s] copying",
        "[  12.3 s] 4/6 routers",
        "[  12.3 s] a note [with brackets]",
    ]


def test_a_copy_has_a_line_now_and_then_and_when_it_is_held(clock: Clock) -> None:
    to, file = console(is_terminal=False)
    tell = LineTell(to)
    for tenth in range(25):
        clock.now = 100 + tenth / 10
        tell.progress(copied())
    tell.progress(copied(held=True))
    tell.progress(copied("lb"))
    assert file.getvalue().splitlines() == [
        "[   0.0 s] fw: copied 10 MB, left 90 MB, 200 Mbit/s",
        "[   2.0 s] fw: copied 10 MB, left 90 MB, 200 Mbit/s",
        "[   2.4 s] fw: copied 10 MB, left 90 MB, 200 Mbit/s, held",
        "[   2.4 s] lb: copied 10 MB, left 90 MB, 200 Mbit/s",
    ]


def test_nothing_is_written_while_a_switch_is_under_way(clock: Clock) -> None:
    to, file = console(is_terminal=False)
    tell = LineTell(to)
    for phase in ("stopping", "draining", "committing", "resuming"):
        tell.phase(phase)
        clock.now += 0.1
        assert file.getvalue() == ""
    tell.phase("verifying")
    assert [line.split("] ")[1] for line in file.getvalue().splitlines()] == [
        "stopping", "draining", "committing", "resuming", "verifying",
    ]  # fmt: skip


def test_a_picture_shows_what_is_over_what_is_now_and_every_copy() -> None:
    to, file = console(is_terminal=True)
    tell = LiveTell(to)
    with tell.drawn():
        tell.act(2, "Only the servers moved")
        tell.phase("preparing")
        tell.phase("copying")
        tell.progress(copied("fw", held=True))
        tell.progress(copied("lb"))
        tell.note("a note [with brackets]")
    shown = file.getvalue()
    assert "Act 2: Only the servers moved" in shown
    assert "a note [with brackets]" in shown
    last = shown[shown.rindex("preparing") :]
    assert "copying" in last
    assert "held" in last
    assert "pass 1" in last


def test_a_step_has_its_place_in_the_picture() -> None:
    to, file = console(is_terminal=True)
    tell = LiveTell(to)
    with tell.drawn():
        tell.phase("bringing lab lab1 up")
        tell.step("routers", 4, 6)
        deadline = time.monotonic() + 20
        while "4/6 routers" not in file.getvalue() and time.monotonic() < deadline:
            threading.Event().wait(0.01)
    assert "4/6 routers" in file.getvalue()


def test_where_no_terminal_is_lines_go_to_stdout_or_beside_json_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with telling() as tell:
        tell.phase("one")
    with telling(as_json=True) as tell:
        tell.phase("two")
    captured = capsys.readouterr()
    assert "one" in captured.out
    assert "two" not in captured.out
    assert "two" in captured.err
