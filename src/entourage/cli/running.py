"""Runs a command's coroutine, and lets signals end it in an orderly way."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from entourage.cli.exits import InterruptedByUserError
from entourage.operations.interruption import Interruption

_T = TypeVar("_T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(work: Callable[[Interruption], Awaitable[_T]], *, heard: Callable[[str], None] | None = None) -> _T:
    """Run `work` to its end. A signal asks it to end through its interruption; InterruptedByUserError if it did.

    `heard` is told of each signal.
    """
    try:
        return asyncio.run(_with_signals(work, heard or _ignore))
    except asyncio.CancelledError:
        raise InterruptedByUserError from None


async def _with_signals(work: Callable[[Interruption], Awaitable[_T]], heard: Callable[[str], None]) -> _T:
    loop = asyncio.get_running_loop()
    interruption = Interruption()

    def on_signal(number: signal.Signals) -> None:
        why = f"interrupted by {number.name}"
        interruption.ask(why)
        heard(why)

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        return await work(interruption)
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _ignore(_: str) -> None:
    """Nobody is told."""
