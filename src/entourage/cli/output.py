"""Where output goes: rich text on a terminal, plain text else, JSON if asked for."""

import json
import os
import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from entourage.operations.observe import Observation
from entourage.operations.reports import Kept
from entourage.ports.hypervisor import RunState

_PLAIN_WIDTH = 200  # of tables in a file or a pipe, where nothing says how wide a line may be


class Screen(Console):
    """A console for text that is not ours: names come from users' files, so nothing in it is markup.

    When nobody reads any more it falls silent, and the work goes on to its end.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False, emoji=False)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = _PLAIN_WIDTH

    def on_broken_pipe(self) -> None:
        """Say nothing more."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def show(*parts: RenderableType) -> None:
    """Print what a command has to say."""
    Screen().print(*parts, sep="\n")


def show_error(*parts: RenderableType) -> None:
    """Print what is said beside the result."""
    Screen(stderr=True).print(*parts, sep="\n")


def show_json(document: object) -> None:
    """Print a document as JSON."""
    try:
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_json_line(document: object) -> None:
    """Print a document as one line of JSON, at once."""
    try:
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table of plain texts."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in head:
        made.add_column(Text(name))
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return made


def placement_table(seen: Observation) -> Table:
    """Every member with its role and where its copies are; one that runs nowhere has a row, too."""
    rows: list[tuple[object, ...]] = []
    for member in seen.snapshot.service.members:
        copies = [(str(host), state) for (name, host), state in sorted(seen.copies.items()) if name == member.id]
        for host, state in copies or [("nowhere", RunState.ABSENT)]:
            style = "green" if state is RunState.RUNNING else "bold red"
            rows.append((member.id, member.role.value, host, Text(state.value, style=style)))
    return table(("member", "role", "host", "state"), rows)


def files(kept: Kept) -> list[RenderableType]:
    """Where a report is."""
    return [Text(f"report: {kept.json}"), Text(f"page:   {kept.html.absolute().as_uri()}")]
