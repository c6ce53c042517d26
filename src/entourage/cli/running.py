"""Runs a command's coroutine, and lets signals end it in an orderly way."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from entourage.operations.interruption import Interruption

_T = TypeVar("_T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(work: Callable[[Interruption], Awaitable[_T]]) -> _T:
    """Run `work` to its end. A signal asks it to end through its interruption; KeyboardInterrupt if that ended it."""
    try:
        return asyncio.run(_with_signals(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _with_signals(work: Callable[[Interruption], Awaitable[_T]]) -> _T:
    loop = asyncio.get_running_loop()
    interruption = Interruption()
    for number in _SIGNALS:
        loop.add_signal_handler(number, interruption.ask, f"interrupted by {number.name}")
    try:
        return await work(interruption)
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
