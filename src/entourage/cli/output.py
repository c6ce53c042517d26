"""Where output goes: rich text on a terminal, plain text else, JSON if asked for."""

import json
import os
import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_PLAIN_WIDTH = 140  # of tables in a file or a pipe, where nothing says how wide a line may be


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


def show_json(document: object) -> None:
    """Print a document as JSON."""
    try:
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
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
