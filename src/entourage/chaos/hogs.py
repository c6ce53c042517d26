"""Neighbours that take all CPU and memory bandwidth that they get.

Each is a session of its own, as a virtual machine of somebody else's is: the kernel shares CPUs between sessions first
(`sched_autogroup_enabled`), so hogs of one session would together be no more than one neighbour.
"""

import os
import subprocess
import sys
from types import TracebackType
from typing import Self

# They end with whoever made them, also when that is killed: the kernel sees to it. Source: prctl(2).
_MORTAL = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]): sys.exit()  # it has ended already
"""
_SPIN = "while True: pass"
_COPY = "a = bytearray(64 << 20)\nb = bytearray(64 << 20)\nwhile True: a[:] = b"  # beyond any cache


class Hogs:
    """So many processes that spin, and one that copies memory; ordinary ones, on any CPU. They end with the block."""

    def __init__(self, *, processes: int, memory: bool) -> None:
        self._programs = [_SPIN] * processes + [_COPY] * memory
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._running = [
            subprocess.Popen([sys.executable, "-c", _MORTAL + program, str(os.getpid())], start_new_session=True)
            for program in self._programs
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()
