"""`python -m entourage.drivers.quorum.warden CONFIG`: fences its site whenever it has not been told that it may run.

It is a process of its own because agents die and stand still. Its socket takes a JSON object a line:

    {"op": "permit", "until": SECONDS}  -> nothing; by `config.now`. A later time, or the same, never an earlier one
    {"op": "remove", "epoch": N}        -> {"removed": N} when nothing is left, or {"error": TEXT}
    {"op": "status"}                    -> {"fenced": BOOL, "permitted_s": S, "paused": [...], "frozen": [...], ...}
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from entourage.drivers.quorum.config import WARDEN, AgentConfig, Log, come_first, now, read_config
from entourage.drivers.quorum.fencing import SiteFence
from entourage.drivers.sockets import listen
from entourage.ports.errors import DriverError

_AGAIN_S = 0.2  # from one round of fencing to the next
_LOG = "warden.jsonl"


class Warden:
    """The fence of one site, and until when it is open. It starts closed."""

    def __init__(self, fence: SiteFence, *, note: Callable[..., None]) -> None:
        self._fence = fence
        self._note = note
        self._until = float("-inf")
        self._is_fenced = True
        self._told = asyncio.Event()
        self._turn = asyncio.Lock()  # of whoever acts on members

    async def run(self) -> None:
        """Fence and release, for ever."""
        while True:
            self._told.clear()
            left = self._until - now()
            if left > 0:
                if self._is_fenced:
                    await self._release(left)
                    continue
            else:
                await self._close_fence()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), left if left > 0 else _AGAIN_S)

    def permit(self, until: float) -> None:
        """The members may run until then, if not for longer already."""
        self._until = max(self._until, until)
        self._told.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        with suppress(OSError, ValueError):
            while line := await reader.readline():
                answer = await self._answer(json.loads(line))
                if answer is not None:
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
        writer.close()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        match request:
            case {"op": "permit", "until": until}:
                self.permit(float(until))
                return None
            case {"op": "remove", "epoch": epoch}:
                return await self._remove(epoch)
            case {"op": "status"}:
                return {"fenced": self._is_fenced, "permitted_s": max(-1e9, self._until - now()), **self._fence.held()}
        return {"error": 'op must be "permit" with until, "remove" with epoch, or "status"'}

    async def _close_fence(self) -> None:
        async with self._turn:
            begun = now()
            try:
                await self._fence.fence()
            except (DriverError, OSError) as error:
                self._note("fencing failed, is tried again", because=str(error))
            if not self._is_fenced:
                self._note("fenced", late_s=begun - self._until, took_s=now() - begun, **self._fence.held())
            self._is_fenced = True

    async def _release(self, left: float) -> None:
        async with self._turn:
            held = self._fence.held()
            try:
                async with asyncio.timeout(left):
                    await self._fence.release()
            except (TimeoutError, DriverError, OSError) as error:
                self._note("release failed, is tried again", because=str(error))
                await asyncio.sleep(_AGAIN_S)
                return
            self._is_fenced = False
            self._note("released", **held)

    async def _remove(self, epoch: int) -> dict[str, Any]:
        if now() < self._until:
            return {"error": "the site has its right: nothing is removed"}
        async with self._turn:
            try:
                await self._fence.remove()
            except (DriverError, OSError) as error:
                return {"error": str(error)}
        self._note("removed", epoch=epoch)
        return {"removed": epoch}


def main(arguments: list[str]) -> int:
    """Ward one site until told to end: 0 after SIGTERM, 2 and a line on stderr if it cannot start."""
    try:
        config = read_config(Path(arguments[0]))
        os.chdir(config.directory)  # a socket's path has at most 107 bytes: from here on they are short
        listener = listen(WARDEN, another="another warden looks after this site")
    except (IndexError, OSError, ValueError, KeyError) as error:
        print(f"warden: {error}", file=sys.stderr)  # noqa: T201
        return 2
    come_first()
    asyncio.run(_run(config, listener))
    return 0


async def _run(config: AgentConfig, listener: Any) -> None:  # noqa: ANN401 - a socket
    assert config.site is not None
    log = Log(Path(_LOG))
    fence = SiteFence(config.site, memory=Path("fenced.json"))
    warden = Warden(fence, note=log.note)
    told_to_end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_end.set)
    await asyncio.start_unix_server(warden.serve, sock=listener)
    log.note("ready")
    watching = asyncio.create_task(warden.run())
    await asyncio.wait({watching, asyncio.create_task(told_to_end.wait())}, return_when=asyncio.FIRST_COMPLETED)
    await fence.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
