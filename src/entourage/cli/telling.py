"""Long work as it is watched: live on a terminal, a line at a time elsewhere."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from entourage.cli.output import Screen, table
from entourage.model.units import format_bytes, format_rate
from entourage.operations.tell import URGENT, Tell
from entourage.ports.hypervisor import CopyProgress

_REDRAW_S = 0.25
_LINE_EVERY_S = 2.0
_BAR_WIDTH = 24


@contextmanager
def telling(*, as_json: bool = False) -> Iterator[Tell]:
    """One who tells the user, on stdout, or on stderr where stdout is for JSON."""
    screen = Screen(stderr=as_json)
    if not screen.is_terminal:
        yield LineTell(screen)
        return
    tell = LiveTell(screen)
    with tell.drawn():
        yield tell


class LineTell:
    """Plain lines with the seconds since the beginning; a member's copy now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._told: dict[str, tuple[float, bool]] = {}
        self._urgent = False
        self._kept: list[str] = []

    def act(self, number: int, title: str) -> None:
        """A line."""
        self._line(f"act {number}: {title}")

    def phase(self, text: str) -> None:
        """A line; in urgent phases it comes when they are over, for a pipe may make its writer wait."""
        self._told.clear()
        self._urgent = text in URGENT
        self._line(text)

    def step(self, what: str, done: int, total: int) -> None:
        """A line."""
        self._line(f"{done}/{total} {what}")

    def progress(self, progress: CopyProgress) -> None:
        """A line for a member every other second, and when it is held or goes on."""
        now = time.monotonic()
        at, held = self._told.get(progress.member, (0.0, False))
        if now - at < _LINE_EVERY_S and held == progress.held:
            return
        self._told[progress.member] = (now, progress.held)
        self._line(
            f"{progress.member}: copied {format_bytes(progress.copied)}, left {format_bytes(progress.left)}, "
            f"{format_rate(progress.rate)}{', held' if progress.held else ''}"
        )

    def note(self, text: str) -> None:
        """A line."""
        self._line(text)

    def _line(self, text: str) -> None:
        self._kept.append(f"[{time.monotonic() - self._began:6.1f} s] {text}")
        if not self._urgent:
            self._console.print(Text("\n".join(self._kept)), soft_wrap=True)
            self._kept.clear()


class LiveTell:
    """A picture that is redrawn some times a second by a thread of its own.

    To be told costs next to nothing, and nothing is drawn in an urgent phase: a switch must not wait for a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._spinner = Spinner("dots")
        self._began = self._phase_began = time.monotonic()
        self._phase = ""
        self._past: list[str] = []
        self._step: tuple[str, int, int] | None = None
        self._copies: dict[str, CopyProgress] = {}
        self._ended = threading.Event()
        self._live = Live(console=console, auto_refresh=False, get_renderable=self._picture)  # asks at once

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw until the end of the block; the last picture stays."""
        drawing = threading.Thread(target=self._draw, name="drawing", daemon=True)
        with self._live:
            drawing.start()
            try:
                yield
            finally:
                self._ended.set()
                drawing.join()
                self._finish_phase()
                self._live.refresh()

    def act(self, number: int, title: str) -> None:
        """A heading that stays, below what led to it."""
        self._finish_phase()
        before, self._past, self._copies = self._past, [], {}
        if before:
            self._console.print(_phases(before))
        self._console.print(Text(f"Act {number}: {title}", style="bold cyan"))

    def phase(self, text: str) -> None:
        """The phase before joins the list of those that are over."""
        self._finish_phase()
        self._phase, self._phase_began, self._step = text, time.monotonic(), None

    def step(self, what: str, done: int, total: int) -> None:
        """Kept for the next picture."""
        self._step = (what, done, total)

    def progress(self, progress: CopyProgress) -> None:
        """Kept for the next picture."""
        self._copies = {**self._copies, progress.member: progress}

    def note(self, text: str) -> None:
        """A line above the picture that stays."""
        self._console.print(Text(text))

    def _finish_phase(self) -> None:
        if self._phase:
            self._past.append(f"{self._phase} {time.monotonic() - self._phase_began:.1f} s")
        self._phase, self._step = "", None

    def _draw(self) -> None:
        while not self._ended.wait(_REDRAW_S):
            if self._phase not in URGENT:
                self._live.refresh()

    def _picture(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._past:
            parts.append(_phases(list(self._past)))
        if self._phase or self._step:
            parts.append(self._now())
        if self._copies:
            parts.append(_copies_table(list(self._copies.values())))
        return Group(*parts)

    def _now(self) -> RenderableType:
        took = Text(f"{time.monotonic() - self._began:5.1f} s", style="dim")
        line = Table.grid(padding=(0, 1))
        step = self._step
        words = [self._phase, f"{step[1]}/{step[2]} {step[0]}" if step else ""]
        text = Text(" · ".join(word for word in words if word), style="bold")
        bar = _bar(step[1], step[2]) if step else Text()
        line.add_row(self._spinner, took, text, bar)
        return line


def _phases(past: list[str]) -> Text:
    return Text(" · ".join(past), style="dim")


def _copies_table(copies: list[CopyProgress]) -> Table:
    rows = table(("member", "", "copied", "left", "rate", ""), [])
    for column in rows.columns[2:5]:
        column.justify = "right"
    for each in copies:
        rows.add_row(
            Text(each.member, style="bold"),
            _bar(each.copied, each.copied + each.left),
            Text(format_bytes(each.copied)),
            Text(format_bytes(each.left)),
            Text("" if each.held else format_rate(each.rate)),
            Text("held", style="green") if each.held else Text(f"pass {each.passes}", style="dim"),
        )
    return rows


def _bar(done: float, total: float) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=done, width=_BAR_WIDTH)
