"""Starts a probe process, waits until it is ready, reads its status lines, and never leaves it behind."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from entourage.probe.config import ProbeConfig
from entourage.probe.process import FINISH_S
from entourage.probe.status import Status

_START_S = 15.0  # for the interpreter, on a busy machine; on top of the deadline for opening sessions
_STOP_S = FINISH_S + 8.0


class ProbeError(Exception):
    """The probe did not start, ended by itself, or did not show what was waited for; the message says why."""


class ProbeProcess:
    """One region's probe as a child process.

    `async with ProbeProcess(config) as probe:` starts it, returns when all its sessions are open, and stops it at
    the end. The kernel kills the child when the thread that started it ends, however that happens.
    """

    def __init__(self, config: ProbeConfig) -> None:
        self.config = config
        self.latest: Status | None = None
        self._process: Process | None = None
        self._reading: asyncio.Future[tuple[None, None]] | None = None
        self._changed = asyncio.Condition()
        self._ready = False
        self._ended = False
        self._reason = ""
        self._stderr: deque[str] = deque(maxlen=20)

    @property
    def pid(self) -> int | None:
        """The process's id while it runs (or has not been stopped), else None."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises ProbeError if it fails; nothing is left then."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "entourage.probe", "-", "--parent", str(os.getpid()),
            stdin=PIPE, stdout=PIPE, stderr=PIPE,
            start_new_session=True,  # Ctrl-C is for the command: it stops its probes when it has finished
        )  # fmt: skip
        self._reading = asyncio.gather(self._read_stdout(self._process), self._read_stderr(self._process))
        try:
            await self._send_config(self._process)
            await self._wait(
                lambda: self._ready, deadline_s=self.config.open_deadline_s + _START_S, what="was not ready"
            )
        except BaseException:
            await self._kill()
            raise

    async def wait_status(self, condition: Callable[[Status], bool], *, deadline_s: float) -> Status:
        """The latest status or a later one, as soon as `condition` holds for it.

        Raises ProbeError if the process ends before, or `deadline_s` seconds have passed.
        """
        found: list[Status] = []

        def holds() -> bool:
            if self.latest is not None and condition(self.latest):
                found.append(self.latest)
            return bool(found)

        await self._wait(holds, deadline_s=deadline_s, what="showed no such status")
        return found[0]

    async def stop(self) -> None:
        """Have the process finish its log and end; kill it if it takes too long. May be called twice.

        Raises ProbeError if it had ended by itself or did not end cleanly: the log may then lack its last second.
        """
        if self._process is None:
            return
        early = self._ended
        try:
            # A signal to a process that has ended makes Popen collect its exit code before asyncio can.
            if not early:
                with suppress(ProcessLookupError):
                    self._process.terminate()
            async with asyncio.timeout(_STOP_S):
                code = await self._collect()
        except TimeoutError:
            self._reason = f"it did not end within {_STOP_S:g} s of being told to"
            code = await self._kill()
        except BaseException:
            await self._kill()
            raise
        if early or code != 0:
            raise ProbeError(self._describe(f"ended {'by itself ' if early else ''}with code {code}"))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        except ProbeError:
            if error is None:  # else the error that is under way says more
                raise

    async def _send_config(self, process: Process) -> None:
        assert process.stdin is not None
        with suppress(ConnectionError):  # it ended already: its output says why
            process.stdin.write(json.dumps(self.config.to_json()).encode())
            await process.stdin.drain()
            process.stdin.close()

    async def _wait(self, condition: Callable[[], bool], *, deadline_s: float, what: str) -> None:
        try:
            async with asyncio.timeout(deadline_s), self._changed:
                await self._changed.wait_for(lambda: self._ended or condition())
        except TimeoutError:
            raise ProbeError(self._describe(f"{what} within {deadline_s:g} s, its latest is {self.latest}")) from None
        if not condition():
            raise ProbeError(self._describe("ended"))

    async def _kill(self) -> int:
        assert self._process is not None
        if not self._ended:
            with suppress(ProcessLookupError):
                self._process.kill()
        return await self._collect()

    async def _collect(self) -> int:
        """Wait for the end of a process that is about to end, and for the rest of its output; its exit code."""
        assert self._process is not None
        assert self._reading is not None
        code = await self._process.wait()
        await asyncio.shield(self._reading)  # a caller that gives up waiting does not end the reading
        self._process = None
        return code

    async def _read_stdout(self, process: Process) -> None:
        assert process.stdout is not None
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            async with self._changed:
                if line == "ready":
                    self._ready = True
                elif line.startswith("failed: "):
                    self._reason = line.removeprefix("failed: ")
                else:
                    self.latest = Status.from_line(line)
                self._changed.notify_all()
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def _read_stderr(self, process: Process) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            self._stderr.append(raw.decode(errors="replace").rstrip("\n"))

    def _describe(self, what: str) -> str:
        reason = self._reason or " | ".join(self._stderr)
        return f"the probe of {self.config.region} {what}{': ' if reason else ''}{reason}"
