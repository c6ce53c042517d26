"""What is wrong with a spec file: every problem at once, each with its place and a hint."""

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

_SHOWN = 60  # characters of the user's text in a message; a line of a broken file can be a megabyte long
_LISTED = 8  # known words in a hint
_COMPARED = 100  # known words looked at for a likely one: comparing is slow


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; line and column count from 1, columns in characters."""

    line: int
    column: int


START: Final = Position(1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, where, and what to write instead. Line and column count from 1."""

    file: str
    line: int
    column: int
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message} (hint: {self.hint})"


class SpecError(ValueError):
    """A spec cannot be used. `problems` has at least one, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems, key=lambda p: (p.line, p.column)))
        super().__init__("\n".join(map(str, self.problems)))


class Problems:
    """Collects what is wrong with one file while it is read."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._found: list[Problem] = []

    def add(self, at: Position, message: str, *, hint: str) -> None:
        """Note one problem."""
        self._found.append(Problem(file=self._file, line=at.line, column=at.column, message=message, hint=hint))

    def beside(self) -> "Problems":
        """Another collection for the same file."""
        return Problems(self._file)

    def join(self, other: "Problems") -> None:
        """Note what the other has found, each of it once."""
        self._found += [found for found in dict.fromkeys(other._found) if found not in self._found]

    @property
    def count(self) -> int:
        """How many were found until now."""
        return len(self._found)

    def error(self) -> SpecError:
        """All problems as one error to raise."""
        assert self._found, "an error needs a problem"
        return SpecError(self._found)


def quote(text: str) -> str:
    """The user's text in quotes, printable and cut to a readable length."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def closest(text: str, known: Iterable[str]) -> str | None:
    """The known word that `text` was most likely meant to be, whatever the case of its letters."""
    if len(text) > _SHOWN:
        return None
    words = {word.lower(): word for word in islice(known, _COMPARED)}
    matches = difflib.get_close_matches(text.lower(), words, n=1)
    return words[matches[0]] if matches else None


def suggest(text: str, known: Iterable[str]) -> str:
    """A hint for an unknown word: the one that was likely meant, or what there is.

    A word that is in `known` twice was defined twice, and one of the two probably got the wrong name.
    """
    words = list(islice(known, _COMPARED))
    doubled = next((word for word, times in Counter(words).items() if times > 1), None)
    if doubled is not None:
        return f"was one of the two {quote(doubled)} meant to be it?"
    match = closest(text, words)
    if match is not None:
        return f"did you mean {match!r}?"
    if not words:
        return "none is defined"
    listed = ", ".join(quote(w)[1:-1] for w in words[:_LISTED])
    return f"use one of {listed}" + (", …" if len(words) > _LISTED else "")
