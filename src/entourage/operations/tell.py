"""How long work says what it is doing, to whoever watches: a terminal, a log, or nobody."""

from typing import Protocol

from entourage.ports.hypervisor import CopyProgress

# Phases of a switch in which every millisecond counts: whoever is told does nothing then but remember.
URGENT = frozenset({"stopping", "draining", "committing", "resuming"})


class Tell(Protocol):
    """One who is told. Calls come in the order in which things happen, from one thread; none may block or raise."""

    def act(self, number: int, title: str) -> None:
        """An act of a story begins: 1 "everything at east"."""
        ...

    def phase(self, text: str) -> None:
        """Something else begins; what was said of steps and copies before is over."""
        ...

    def step(self, what: str, done: int, total: int) -> None:
        """Within a phase: `done` of `total` steps are done, and `what` is the one now under way or just done."""
        ...

    def progress(self, progress: CopyProgress) -> None:
        """How far a member's copy is. Comes several times a second for each member."""
        ...

    def note(self, text: str) -> None:
        """A sentence that should stay to be read."""
        ...


class Silent:
    """Tells nobody."""

    def act(self, number: int, title: str) -> None:
        """Nothing."""

    def phase(self, text: str) -> None:
        """Nothing."""

    def step(self, what: str, done: int, total: int) -> None:
        """Nothing."""

    def progress(self, progress: CopyProgress) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
