"""Trying again: parts of a move that are to be done whatever becomes of the others, and how long that may take."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from entourage.engine.deadlines import PART_DEADLINE_S, PART_TRIES, RETRY_DELAY_S
from entourage.ports.errors import PermanentError, TemporaryError


async def insist(
    what: str,
    work: Callable[[], Awaitable[object]],
    *,
    deadline_s: float = PART_DEADLINE_S,
    told: Callable[[str], None] = lambda _: None,
) -> str | None:
    """Try a few times; None when it is done, else what could not be done and why. `told`: why it is tried again."""
    problem = None
    for left in reversed(range(PART_TRIES)):
        try:
            async with asyncio.timeout(deadline_s):
                await work()
        except Exception as error:  # noqa: BLE001 - one part that fails, however, must not keep the others from it
            problem = f"{what}: {reason_of(error, deadline_s)}"
            if isinstance(error, PermanentError):
                break
            if left:
                told(f"{problem}; trying again")
            await asyncio.sleep(delay_after(error))
        else:
            return None
    return problem


async def all_of(parts: Sequence[Awaitable[str | None]]) -> list[str]:
    """All at once, each to its end: the problems."""
    return [problem for problem in await asyncio.gather(*parts) if problem]


def reason_of(error: Exception, deadline_s: float) -> str:
    """What went wrong, in words."""
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {deadline_s:g} s"
    return str(error) or repr(error)


def since(began: float) -> float:
    """Seconds by the loop's clock, which nobody steps."""
    return asyncio.get_running_loop().time() - began


def delay_after(error: Exception) -> float:
    """Seconds until it is worth trying again."""
    return error.delay if isinstance(error, TemporaryError) else RETRY_DELAY_S
