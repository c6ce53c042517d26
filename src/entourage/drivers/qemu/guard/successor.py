"""What a guard starts when whoever drove a move is gone without having said that it is over: somebody to finish it."""

import asyncio
import subprocess
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Protocol

# One that fails again and again would take the host's CPU for nothing: so many at once, then with pauses that double.
_FAILURES_MAX, _PAUSE_S, _LONGEST_PAUSE_S = 3, 60.0, 600.0


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
        self._failures = 0  # since one has ended well
        self._is_put_off = False
        self._waiting: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start it; later, if the last ones have failed."""
        if not self._command or self._is_put_off:
            return
        if self._failures < _FAILURES_MAX:
            self._start()
            return
        pause_s = min(_LONGEST_PAUSE_S, _PAUSE_S * 2 ** min(self._failures - _FAILURES_MAX, 10))
        self._note("successor put off", seconds=pause_s, because=f"the last {self._failures} have failed")
        self._is_put_off = True
        self._in_background(self._start_later(pause_s))

    async def _start_later(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        self._is_put_off = False
        self._start()

    def _start(self) -> None:
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
        self._in_background(self._wait(process))

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        code = await asyncio.to_thread(process.wait)
        self._failures = self._failures + 1 if code else 0
        self._note("successor ended", pid=process.pid, code=code)
