"""The right to drive moves: of all orchestrators that share a database, one has it at a time."""

from typing import Protocol

from entourage.ports.errors import OutcomeUnknownError, PermanentError


class RightLostError(PermanentError):
    """Somebody else drives now. Whoever gets this does nothing more to anything: the other looks, and goes on."""


class RightUnknownError(OutcomeUnknownError):
    """Nobody answers who drives. Until that is known nothing may be done, not even to put something back."""


class Right(Protocol):
    """The right of this process, as it was given one."""

    async def check(self) -> None:
        """Before anything is done: RightLostError, or RightUnknownError, if it must not be done."""
        ...
