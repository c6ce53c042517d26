"""What happens when somebody wants long work to end: it is cancelled, unless it has a better way to end just now."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Ending = Callable[[str], None]  # told why


class Interruption:
    """The wish that the task that made it should end, for example of a signal. Not for other threads."""

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._instead: Ending | None = None
        self._cancelled = False
        self.reason: str | None = None  # why the work was asked to end; None if it was not

    def ask(self, reason: str) -> None:
        """End the work: cancel its task, or do what it wants to be done instead."""
        self.reason = reason
        if self._instead is not None:
            self._instead(reason)
        elif (
            self._task is not None and not self._cancelled
        ):  # once: a second time would interrupt the cleaning up after the first
            self._cancelled = True
            self._task.cancel()

    @contextmanager
    def instead(self, ending: Ending) -> Iterator[None]:
        """Meanwhile call `ending` and let the task go on to the end that it finds."""
        before, self._instead = self._instead, ending
        try:
            yield
        finally:
            self._instead = before
