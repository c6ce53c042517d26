"""What is known of moves, apart from the database that knows it: that one takes a second to import."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]  # what JSON has
Drive = Callable[[], Awaitable[Document]]  # a move from its beginning to its end, with its result
Recover = Callable[[str, Document], Awaitable[Document]]  # a move that another process has begun


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMove:
    """A move as the database has it. `ended` is its result, None while it is open; `began` in seconds since 1970."""

    move: str
    began: float
    document: Document
    ended: Document | None
    executor: str | None
