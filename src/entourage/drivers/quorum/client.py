"""Asking an agent on this machine by its control socket."""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entourage.drivers.quorum.config import CONTROL
from entourage.model.ids import ServiceId, SiteId
from entourage.ports.errors import PermanentError, TemporaryError

_ANSWER_WITHIN_S = 10.0


async def connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection by the folder's handle: a socket's path has at most 107 bytes. OSError if nobody listens."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{path.name}", limit=2**20)
    finally:
        os.close(folder)


class AgentClient:
    """The agent whose files are in `directory`. Each call is a connection of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def status(self) -> dict[str, Any]:
        """What the agent can tell, as `entourage.drivers.quorum.telling` has it. TemporaryError if it is not there."""
        return await self._ask({"op": "status"})

    async def take_over(self, lost: SiteId, services: Sequence[ServiceId]) -> dict[str, Any]:
        """Ask for a takeover: {"won": …}, {"refused": [sentence]} or {"pending": true}: ask again.

        Only what it names is removed at the lost site. More can be asked for later: then another one that names all
        takes its place. TemporaryError if the agent is not there. May be asked for again.
        """
        return await self._ask({"op": "take-over", "lost": lost, "services": list(services)})

    async def settled(self, lost: SiteId, *, epoch: int) -> None:
        """Tell it that what was won has been carried out. PermanentError if nothing of that kind was won."""
        await self._ask({"op": "settled", "lost": lost, "epoch": epoch})

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        name = self._directory.name
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                reader, writer = await connect(self._directory / CONTROL)
                try:
                    writer.write(json.dumps(request).encode() + b"\n")
                    answer: dict[str, Any] = json.loads(await reader.readline() or b"null") or {}
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise TemporaryError(f"{name}: no answer ({error or 'too slow'})", delay=1) from error
        if not answer:
            raise TemporaryError(f"{name} ended before it answered", delay=1)
        if "error" in answer:
            raise PermanentError(f"{name} refused {request['op']}: {answer['error']}")
        return answer
