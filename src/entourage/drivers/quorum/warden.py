"""`python -m entourage.drivers.quorum.warden CONFIG`: fences its site whenever it has not been told that it may run.

It is a process of its own because agents die and stand still. A second one stands by, and takes over within ms when the
first has died: closed, as each begins, so the site is fenced if there is nobody who says that members may run. Which of
them a process is says who holds which lock; a third one ends at once. The warden's socket takes a JSON object a line:

    {"op": "permit", "until": SECONDS}  -> nothing; by `config.now`. A later time, or the same, never an earlier one
    {"op": "remove", "epoch": N, "services": [NAME]}
                                        -> {"removed": N} when nothing of these is left, or {"error": TEXT}
    {"op": "status"}                    -> {"fenced": BOOL, "permitted_s": S, "paused": [...], "frozen": [...], ...}
"""

import asyncio
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from entourage.drivers.quorum.config import WARDEN, AgentConfig, Log, come_first, now, read_config
from entourage.drivers.quorum.fencing import SiteFence
from entourage.drivers.sockets import listen
from entourage.model.ids import ServiceId
from entourage.ports.errors import DriverError

_AGAIN_S = 0.2  # from one round of fencing to the next
_LOG = "warden.jsonl"
_LOOK_FOR_STANDBY_S = 5.0
_TURN, STANDBY = "warden.lock", "standby.lock"  # locked by the one that wards, and by the one that waits


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
            case {"op": "remove", "epoch": int(epoch), "services": [*services]}:
                return await self._remove(epoch, [ServiceId(each) for each in services])
            case {"op": "status"}:
                return {"fenced": self._is_fenced, "permitted_s": max(-1e9, self._until - now()), **self._fence.held()}
        return {"error": 'op must be "permit" with until, "remove" with epoch and services, or "status"'}

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

    async def _remove(self, epoch: int, services: Sequence[ServiceId]) -> dict[str, Any]:
        if now() < self._until:
            return {"error": "the site has its right: nothing is removed"}
        async with self._turn:
            try:
                await self._fence.remove(services, epoch=epoch)
            except (DriverError, OSError, ValueError, KeyError) as error:
                self._note("removal failed, is tried again", epoch=epoch, because=str(error))
                return {"error": str(error)}
        self._note("removed", epoch=epoch, services=services)
        return {"removed": epoch}


def main(arguments: list[str]) -> int:
    """Ward one site until told to end: 0 after SIGTERM, 2 and a line on stderr if it cannot start.

    Where another one does it already this one stands by: it ends as told, or begins when the other has ended.
    """
    try:
        config = read_config(Path(arguments[0]))
        os.chdir(config.directory)  # a socket's path has at most 107 bytes: from here on they are short
        come_first()
        turn = _wait_for_turn()
        listener = listen(WARDEN, another="another warden looks after this site")
    except (IndexError, OSError, ValueError, KeyError) as error:
        print(f"warden: {error}", file=sys.stderr)  # noqa: T201
        return 2
    standby = Standby(arguments[0])
    asyncio.run(_run(config, listener, standby))
    standby.end()  # after an error it takes over
    turn.close()
    return 0


def _wait_for_turn() -> BinaryIO:
    """Hold the warden's lock from now on, until the file is closed or we die. OSError if another one waits for it."""
    turn = Path(_TURN).open("ab")  # noqa: SIM115 - it is open as long as the lock is held
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with Path(STANDBY).open("ab") as place:
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                turn.close()
                raise OSError("another warden looks after this site, and one stands by") from None
            fcntl.flock(turn, fcntl.LOCK_EX)
    return turn


class Standby:
    """The process that stands by for this one. `config` is the file that both read."""

    def __init__(self, config: str) -> None:
        self._command = [sys.executable, "-m", "entourage.drivers.quorum.warden", config]
        self._process: subprocess.Popen[bytes] | None = None

    async def keep(self) -> None:
        """See that somebody stands by, for ever."""
        while True:
            if (self._process is None or self._process.poll() is not None) and not is_locked(Path(STANDBY)):
                self._process = self._start()
            await asyncio.sleep(_LOOK_FOR_STANDBY_S)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, start_new_session=True)

    def end(self) -> None:
        """Nobody of ours stands by any more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def is_locked(path: Path) -> bool:
    """Whether somebody holds a lock on the file, which is made if it is not there."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


async def _run(config: AgentConfig, listener: socket.socket, standby: Standby) -> None:
    assert config.site is not None
    log = Log(Path(_LOG))
    fence = SiteFence(config.site, memory=Path("fenced.json"))
    warden = Warden(fence, note=log.note)
    told_to_end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_end.set)
    await asyncio.start_unix_server(warden.serve, sock=listener)
    log.note("ready")
    tasks = {asyncio.create_task(warden.run()), asyncio.create_task(standby.keep())}
    await asyncio.wait({*tasks, asyncio.create_task(told_to_end.wait())}, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()  # an error ends the warden
    await fence.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
