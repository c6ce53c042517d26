"""What a guard starts when whoever drove a move is gone without having said that it is over: somebody to finish it."""

import asyncio
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

_STARTS_MAX, _IN_S = 3, 60.0  # one that dies again and again would take the host's CPU for nothing


class Note(Protocol):
    """Writes down what has happened."""

    def __call__(self, what: str, member: str | None = None, **more: object) -> None:
        """`what`, of which member if of one, and more by name."""


class Successor:
    """Starts `command`; what it says is appended to `log`. Without a command nothing is ever started."""

    def __init__(self, command: Sequence[str], *, log: Path, note: Note) -> None:
        self._command = command
        self._log = log
        self._note = note
        self._starts: deque[float] = deque(maxlen=_STARTS_MAX)
        self._waiting: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start it, unless it was started too often of late."""
        if not self._command:
            return
        now = time.monotonic()
        if len(self._starts) == _STARTS_MAX and now - self._starts[0] < _IN_S:
            self._note("successor not started", because=f"started {_STARTS_MAX} times within {_IN_S:g} s")
            return
        self._starts.append(now)
        try:
            with self._log.open("ab") as log:
                process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # it goes on if the guard ends
                    close_fds=False,  # what the guard was given it needs; what the guard opened stays the guard's
                )
        except OSError as error:
            self._note("successor not started", because=str(error))
            return
        self._note("successor started", pid=process.pid)
        waiting = asyncio.create_task(self._wait(process))
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

    async def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        code = await asyncio.to_thread(process.wait)
        self._note("successor ended", pid=process.pid, code=code)
