"""What all kits have in common: checks by name, what they need, and how one is run."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Set
from enum import Enum
from typing import Any, TypeVar

_LOOK_AGAIN_S = 0.01

_Check = TypeVar("_Check", bound=Callable[[Any], Awaitable[None]])


class NotConformingError(AssertionError):
    """The implementation does something else than its port says; the message says what was wanted and what was seen."""


def check(*needs: Enum) -> Callable[[_Check], _Check]:
    """Marks a method of a kit as a check, named by what it shows. It does not apply where one of `needs` is lacking."""

    def mark(method: _Check) -> _Check:
        setattr(method, "needs", frozenset(needs))  # noqa: B010 - functions have no such attribute for the checker
        return method

    return mark


def require(condition: bool, words: str) -> None:
    """NotConformingError with these words if the condition does not hold."""
    if not condition:
        raise NotConformingError(words)


async def require_raises(kind: type[Exception], work: Awaitable[object], *, words: str) -> None:
    """NotConformingError unless `work` raises an error of that kind, and with a message."""
    try:
        await work
    except kind as error:
        require(bool(str(error)), f"{words}: its {type(error).__name__} says nothing")
    except Exception as error:
        raise NotConformingError(f"{words}: wanted {kind.__name__}, not {error!r}") from error
    else:
        raise NotConformingError(f"{words}: wanted {kind.__name__}, but it was done")


async def wait_until(condition: Callable[[], Awaitable[bool]], *, words: str, deadline_s: float) -> None:
    """Ask again and again; NotConformingError if the condition does not hold within `deadline_s` seconds."""
    try:
        async with asyncio.timeout(deadline_s):
            while not await condition():  # noqa: ASYNC110 - what is outside tells nobody that it has changed
                await asyncio.sleep(_LOOK_AGAIN_S)
    except TimeoutError:
        raise NotConformingError(f"not within {deadline_s:g} s: {words}") from None


class Conformance(ABC):
    """A kit for one implementation of a port."""

    @classmethod
    def checks(cls) -> tuple[str, ...]:
        """The names of all checks, in the order in which they are written."""
        return tuple(
            name for base in reversed(cls.__mro__) for name, method in vars(base).items() if hasattr(method, "needs")
        )

    @abstractmethod
    def can(self) -> Set[Enum]:
        """What the implementation says that it can do."""

    @abstractmethod
    async def clear(self) -> None:
        """Take away whatever checks may have left, or a user before them."""


async def run_check(kit: Conformance, name: str) -> bool:
    """Run one check from a clear start, and clear after it, whatever it found.

    Returns False if the implementation declares that it cannot do what the check is about; then nothing was run.
    Raises NotConformingError, or what the implementation raised.
    """
    method = getattr(kit, name)
    if not method.needs <= kit.can():
        return False
    await kit.clear()
    try:
        await method()
    finally:
        await kit.clear()
    return True
