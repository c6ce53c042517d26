"""The record of a move on stable storage: what was decided, and whether the commit point was passed."""

from collections.abc import Mapping
from typing import Any, Protocol


class Journal(Protocol):
    """One move's journal. An entry is on stable storage when `write` returns."""

    async def write(self, kind: str, data: Mapping[str, Any]) -> None:
        """Append an entry."""
        ...
