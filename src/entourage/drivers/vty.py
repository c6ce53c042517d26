"""A lasting session with an FRR daemon by its vty socket: a command takes well under a millisecond.

The protocol is the one between vtysh and a daemon (FRR 8.4, `lib/vty.c`): a command ends with a zero byte, the
reply is text and ends with three zero bytes and a status byte.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

from entourage.ports.errors import OutcomeUnknownError, PermanentError, TemporaryError

_ANSWER_WITHIN = 5.0  # seconds; a daemon answers in less than one millisecond unless it hangs
_END = b"\0\0\0"


class _Status(IntEnum):
    """The statuses of FRR's `lib/command.h` that mean the command was done."""

    SUCCESS = 0
    SUCCESS_DAEMON = 7  # done, and vtysh should tell the other daemons too


class Vty:
    """One daemon's command line. Commands of several tasks are answered one after another, in order.

    Connects when first used, and again after the daemon was gone.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def show(self, command: str) -> str:
        """The text that a show command prints. TemporaryError if the daemon is not there."""
        async with self._turn:
            return await self._ask(command)

    async def show_json(self, command: str) -> dict[str, Any]:
        """What a `show … json` command prints, as a dictionary ({} for nothing)."""
        found = json.loads(await self.show(command) or "{}")
        return found if isinstance(found, dict) else {}

    async def configure(self, lines: Sequence[str]) -> None:
        """Change the running configuration, line by line from the top level.

        TemporaryError if the daemon is not there, PermanentError with its text if it refuses a line,
        OutcomeUnknownError if it was lost on the way.
        """
        async with self._turn:
            await self._ask("configure terminal")
            try:
                for line in lines:
                    await self._ask(line, changes=True)
            finally:
                if self._streams is not None:
                    await self._ask("end")

    async def close(self) -> None:
        """End the session."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _ask(self, command: str, *, changes: bool = False) -> str:
        reader, writer = self._streams or await self._connect()
        try:
            writer.write(command.encode() + b"\0")
            async with asyncio.timeout(_ANSWER_WITHIN):
                text = (await reader.readuntil(_END))[: -len(_END)].decode()
                status = (await reader.readexactly(1))[0]
        except (OSError, EOFError, TimeoutError) as error:
            await self.close()
            message = f"{self._socket.parent.name}: no answer to {command!r}"
            if changes:
                raise OutcomeUnknownError(message) from error
            raise TemporaryError(message, delay=1) from error
        except asyncio.CancelledError:  # half an answer may be left in the stream: start afresh next time
            await self.close()
            raise
        if status not in (_Status.SUCCESS, _Status.SUCCESS_DAEMON):
            raise PermanentError(
                f"{self._socket.parent.name} refused {command!r}: {text.strip() or f'status {status}'}"
            )
        return text

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect by the folder's handle: a socket's path has at most 107 bytes, and a cache folder may be deep."""
        try:
            folder = os.open(self._socket.parent, os.O_PATH)
            try:
                path = f"/proc/self/fd/{folder}/{self._socket.name}"
                self._streams = await asyncio.open_unix_connection(path, limit=2**24)
            finally:
                os.close(folder)
        except OSError as error:
            message = f"{self._socket.parent.name}: its daemon does not run ({error.strerror})"
            raise TemporaryError(message, delay=1) from error
        await self._ask("enable")
        return self._streams
