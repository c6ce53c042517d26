"""The record of a move on stable storage: how the one question that matters was decided."""

from enum import Enum
from typing import Protocol


class Decision(Enum):
    """Whether a move is to happen. Written once, and never changed."""

    COMMIT = "commit"  # from now on only forward
    BACK = "back"  # everything stays, or goes back to, where it was


class Journal(Protocol):
    """One move's journal. A decision is on stable storage when the call returns."""

    async def check(self) -> None:
        """Write something that decides nothing: any error says that a decision could not be written now, either."""
        ...

    async def decide(self, decision: Decision) -> Decision:
        """Write the decision if none is written yet; returns the one that stands, whoever wrote it.

        PermanentError if it is certain that nothing was written. After any other error it may be written or not: ask
        again, which does no harm.
        """
        ...
