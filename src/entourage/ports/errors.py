"""What a driver may raise. Errors are named by what the caller may do about them."""


class DriverError(Exception):
    """Something asked of a driver was not done. Message: what was wanted, of whom, and what came back."""


class TemporaryError(DriverError):
    """Not done, and may well work later: try again after `delay` seconds."""

    def __init__(self, message: str, *, delay: float) -> None:
        super().__init__(message)
        self.delay = delay


class PermanentError(DriverError):
    """Not done, and asking again will not help."""


class OutcomeUnknownError(DriverError):
    """Nobody answered: it may have happened or not. Look before acting again."""


class UnsupportedError(PermanentError):
    """The driver cannot do this at all, as its capabilities say."""
