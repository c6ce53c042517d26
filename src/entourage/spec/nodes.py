"""A YAML text as a tree of nodes that know their position. Scalars stay text as written, never numbers or booleans.

The tree is built from the parser's events without recursion, so depth, aliases and size are bounded here.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from entourage.spec.problems import START, Position, Problems, quote

MAX_DEPTH = 20  # the deepest value of a correct spec is at 5
MAX_NODES = 20_000  # a service of 800 members has that many; comparing many more with each other would take long
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_LINE_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One value, as written. `empty` if there is none, or only a YAML null."""

    at: Position
    text: str
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A list of nodes."""

    at: Position
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Keys and their values in the order of the file; a key may be there twice."""

    at: Position
    entries: tuple[tuple[Scalar, "Node"], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Something that was reported already (an alias); nothing more is to be said about it."""

    at: Position


Node = Scalar | Sequence | Mapping | Refused


class Lines:
    """Turns offsets into a text into positions."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(m.end() for m in _LINE_BREAK.finditer(text))]
        self._length = len(text)

    def position(self, offset: int) -> Position:
        """The position of the character at `offset`, or of the end of the text."""
        offset = min(offset, self._length)
        line = bisect_right(self._starts, offset)
        return Position(line, offset - self._starts[line - 1] + 1)


def read_document(text: str, problems: Problems) -> Node | None:
    """The only document in `text`; None if it cannot be read, with the reason in `problems`."""
    text = text.removeprefix("\ufeff")
    lines = Lines(text)
    builder = _Builder(problems)
    reached = START
    try:
        for event in _events(text):
            reached = lines.position(event.start_mark.index)
            if not builder.take(event, reached):
                break
    except MarkedYAMLError as error:
        _report_syntax(error, lines, problems)
        return None
    except ReaderError as error:
        problems.add(
            lines.position(error.position),
            f"not text: control character U+{ord(text[error.position]):04X}",
            hint="is this a binary file? a spec is YAML in UTF-8",
        )
        return None
    except Exception as error:  # noqa: BLE001 - the parser has no closed set: "\UFFFFFFFF" is an OverflowError
        problems.add(reached, "not YAML: what begins here cannot be read", hint=f"the parser says {quote(str(error))}")
        return None
    root = builder.root
    if problems.count == 0 and (root is None or (isinstance(root, Scalar) and root.empty)):
        problems.add(START, "the file is empty", hint="see examples/ for what a spec looks like")
        return None
    return root


def _events(text: str) -> Iterator[Event]:
    events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
    return events


def _report_syntax(error: MarkedYAMLError, lines: Lines, problems: Problems) -> None:
    mark = error.problem_mark or error.context_mark
    at = lines.position(mark.index) if mark else START
    hint = "check indentation, quotes and brackets here and on the line before"
    if error.context and error.context_mark:
        began = lines.position(error.context_mark.index)
        hint = f"found {error.context} that begins on line {began.line}, column {began.column}"
    problems.add(at, f"not YAML: {error.problem or error.context}", hint=hint)


@dataclass(slots=True)
class _Open:
    at: Position
    is_mapping: bool
    items: list[Node] = field(default_factory=list)


class _Builder:
    """Puts events together to nodes, with a stack of the open lists and mappings."""

    def __init__(self, problems: Problems) -> None:
        self.root: Node | None = None
        self._problems = problems
        self._stack: list[_Open] = []
        self._documents = 0
        self._nodes = 0

    def take(self, event: Event, at: Position) -> bool:
        """Add one event; False if there is no use in reading on."""
        if isinstance(event, DocumentStartEvent):
            return self._start_document(at)
        self._nodes += isinstance(event, NodeEvent)
        if self._nodes > MAX_NODES:
            return self._give_up(at, f"more than {MAX_NODES} values", hint="split the spec into several services")
        if isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent) and event.ctag:
            tag = str(event.ctag).replace("tag:yaml.org,2002:", "!!")
            self._problems.add(at, f"tag {quote(tag)} is not allowed", hint="write the value without a tag")
        if isinstance(event, AliasEvent):
            self._problems.add(
                at, f"alias {quote(f'*{event.anchor}')} is not allowed", hint="write the value out where it is needed"
            )
            self._close(Refused(at=at))
        elif isinstance(event, ScalarEvent):
            plain = event.style is None
            self._close(Scalar(at=at, text=event.value, empty=plain and event.value in NULLS))
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            return self._open(at, is_mapping=isinstance(event, MappingStartEvent))
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._close(self._finished(self._stack.pop()))
        return True

    def _start_document(self, at: Position) -> bool:
        self._documents += 1
        if self._documents == 1:
            return True
        hint = "keep one document in a file: remove this line, or write what follows to another file"
        return self._give_up(at, "a second document begins here", hint=hint)

    def _open(self, at: Position, *, is_mapping: bool) -> bool:
        if len(self._stack) == MAX_DEPTH:
            hint = "a spec is never that deep: check brackets and dashes"
            return self._give_up(at, f"nested more than {MAX_DEPTH} levels deep", hint=hint)
        self._stack.append(_Open(at, is_mapping))
        return True

    def _give_up(self, at: Position, message: str, *, hint: str) -> bool:
        self._problems.add(at, message, hint=hint)
        self.root = None
        return False

    def _close(self, node: Node) -> None:
        if self._stack:
            self._stack[-1].items.append(node)
        else:
            self.root = node

    def _finished(self, done: _Open) -> Node:
        if not done.is_mapping:
            return Sequence(at=done.at, items=tuple(done.items))
        entries: list[tuple[Scalar, Node]] = []
        for key, value in zip(done.items[::2], done.items[1::2], strict=True):
            if isinstance(key, Scalar):
                # The parser places a value that is not there at the next thing that is.
                absent = isinstance(value, Scalar) and value.empty and not value.text
                entries.append((key, replace(value, at=key.at) if absent else value))
            elif not isinstance(key, Refused):
                self._problems.add(key.at, "a key must be a word", hint="write key: value, the key without brackets")
        return Mapping(at=done.at, entries=tuple(entries))
