"""Breaking a copy's streams off, and when a migration that was cancelled, or whose stream broke, has really ended."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from entourage.ports.errors import PermanentError

_LOOK_AGAIN_S = 0.002  # its events may go to somebody else, so QEMU is asked
_OVER = ("none", "completed", "failed", "cancelled")
_STREAMS = ("migration", "block-node")  # to the target: the memory's, and the disk's mirror; not our own monitors

Ask = Callable[..., Awaitable[Any]]  # a QMP command and its arguments; what QEMU answers


async def break_streams(ask_out_of_band: Ask) -> None:
    """Break off whatever flows to a target; this takes no lock, so it also helps a QEMU that answers nobody else.

    A source that stands still sends its rest, or waits for its disk, with QEMU's big lock held. If whoever has the
    other end hangs, so does QEMU.
    """
    for each in await ask_out_of_band("query-yank"):
        if each["type"] in _STREAMS:
            with suppress(PermanentError):  # it has just ended; asked for together, QEMU would break none then
                await ask_out_of_band("yank", instances=[each])


async def wait_ended(ask: Ask) -> None:
    """Until QEMU's migration is over. Whoever calls this has cancelled it or broken its stream, and sets a deadline.

    QEMU 7.2 can forget a cancel: with `pause-before-switchover` it looks whether there is one, lets its big lock go,
    and waits to be told to go on. A cancel that comes in between changes the state and wakes nobody, so the member
    stands still for ever ("Migration is not finalized yet"). Told to go on in that state, QEMU finds the cancel. One
    that does not wait is not harmed: it drops earlier words before it waits. Source: migration/migration.c of that
    version, `migration_maybe_pause`, `migrate_fd_cancel` and `qmp_migrate_continue`.
    """
    while (status := (await ask("query-migrate")).get("status", "none")) not in _OVER:
        if status == "cancelling":
            with suppress(PermanentError):  # it has just ended
                await ask("migrate-continue", state=status)
        await asyncio.sleep(_LOOK_AGAIN_S)
