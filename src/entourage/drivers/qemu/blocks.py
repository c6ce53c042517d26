"""QEMU's block layer in a process of its own, without a machine, for as long as a piece of work takes; and its jobs.

What goes over the network goes through such processes and never through a guest's QEMU: that one waits with the lock
held that its guest's devices need, and a broken stream would become an I/O error of the guest.
Source: QEMU 10.0 manual, "QMP reference", background jobs and block devices.
"""

import asyncio
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from entourage.drivers.qemu import process as qemu
from entourage.drivers.qemu.monitor import Monitor
from entourage.ports.errors import PermanentError, TemporaryError

_STARTED_WITHIN_S = 10.0
_LOOK_AGAIN_S, _LOOK_AGAIN_FIRST_S = 0.05, 0.002
STALLED_AFTER_S = 10.0  # a job that gets no further for so long waits for somebody who is gone
_AGAIN_AFTER_S = 1.0


class BlockProcess:
    """One such process on a host; its files are in `folder`, in which no other one has any. Use it with `async with`.

    One that is there already, because whoever started it died, is ended first.
    """

    def __init__(self, access: qemu.HostAccess, folder: Path) -> None:
        self.access = access
        self._paths = qemu.InstancePaths(folder / "blocks")
        self._child: subprocess.Popen[bytes] | None = None
        self.monitor = self._monitor()

    def _monitor(self) -> Monitor:
        return Monitor(name=f"blocks@{self.access.id}", socket=self._paths.monitor)

    async def __aenter__(self) -> "BlockProcess":
        """Start it."""
        await self.end()
        self.monitor = self._monitor()
        # It starts nothing by itself: no machine, no devices, and nothing is read but what it is told of.
        arguments = ["/usr/bin/qemu-system-x86_64", "-machine", "none", "-nodefaults", "-no-user-config"]
        arguments += ["-display", "none", "-qmp", f"unix:{self.access.inside(self._paths.monitor)},server=on,wait=off"]
        try:
            self._child = await asyncio.to_thread(qemu.start, arguments, access=self.access, paths=self._paths)
            async with asyncio.timeout(_STARTED_WITHIN_S):
                await self._connect(self._child)
        except BaseException as error:
            words = qemu.last_words(self._paths)
            await self.end()
            if isinstance(error, OSError | TimeoutError):
                raise PermanentError(f"{self.monitor.name}: it did not start: {error or words}") from error
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType) -> None:
        """End it, whatever it does."""
        await self.end()

    async def end(self) -> None:
        """End it, or the one of somebody who is gone; nothing of it is left. May be called twice."""
        await self.monitor.close()
        pid = qemu.running_pid(self._paths) if self._child is None else self._child.pid
        if pid is not None:
            await qemu.end(pid)
        if self._child is not None:
            await asyncio.to_thread(self._child.wait)
            self._child = None  # its number may be somebody else's from now on
        for path in self._paths.all():
            path.unlink(missing_ok=True)

    async def _connect(self, child: subprocess.Popen[bytes]) -> None:
        while True:
            try:
                await self.monitor.connect()
            except ConnectionError as error:
                if child.poll() is not None:
                    raise PermanentError(f"{self.monitor.name}: {qemu.last_words(self._paths)}") from error
                await asyncio.sleep(0.01)
            else:
                return

    async def make(self, node: str, path: Path, *, size: int) -> None:
        """A new empty qcow2 image of `size` bytes at `path`, which `open_image` can open."""
        await asyncio.to_thread(path.unlink, missing_ok=True)
        inside = self.access.inside(path)
        await self._create({"driver": "file", "filename": inside, "size": 0}, job=f"{node}-file")
        await self.monitor.execute("blockdev-add", driver="file", node_name=f"{node}-new", filename=inside)
        await self._create({"driver": "qcow2", "file": f"{node}-new", "size": size}, job=f"{node}-image")
        await self.monitor.execute("blockdev-del", node_name=f"{node}-new")

    async def _create(self, options: Mapping[str, Any], *, job: str) -> None:
        await self.monitor.execute("blockdev-create", job_id=job, options=options)
        await finish_job(self.monitor, job)

    async def open_raw(self, node: str, path: Path) -> None:
        """The file at `path` as the node of that name."""
        file = {"driver": "file", "filename": self.access.inside(path)}
        await self.monitor.execute("blockdev-add", driver="raw", node_name=node, file=file)

    async def open_image(self, node: str, path: Path, *, over: str | None = None) -> None:
        """The qcow2 image at `path` as the node of that name: where nothing is in it the node `over` shows, if any."""
        await open_image(self.monitor, node, self.access.inside(path), over=over)

    async def close(self, node: str) -> None:
        """Close a node; QEMU has given the kernel everything then."""
        await self.monitor.execute("blockdev-del", node_name=node)


async def open_image(monitor: Monitor, node: str, inside: str, *, over: str | None = None) -> None:
    """As `BlockProcess.open_image`, in whatever QEMU; `inside` is the path as that one sees it."""
    file = {"driver": "file", "filename": inside}
    await monitor.execute("blockdev-add", driver="qcow2", node_name=node, file=file, backing=over)


async def finish_job(monitor: Monitor, job: str, *, stalled_after_s: float = STALLED_AFTER_S) -> int:
    """Wait for a job that is not dismissed by itself, end it, and say how many bytes it had to do.

    PermanentError if it failed, TemporaryError if it gets no further for `stalled_after_s`.
    """
    clock = asyncio.get_running_loop().time
    moved_at, seen, pause_s = clock(), -1, _LOOK_AGAIN_FIRST_S
    while True:
        found = await find_job(monitor, job)
        if found is None:
            raise PermanentError(f"{monitor.name}: the job {job} was given up by somebody else")
        if found["status"] == "concluded":
            await monitor.execute("job-dismiss", id=job)
            if "error" in found:
                raise PermanentError(f"{monitor.name}: the job {job} failed: {found['error']}")
            return int(found["total-progress"])
        if found["status"] == "ready":
            with suppress(PermanentError):  # it has been told already
                await monitor.execute("job-complete", id=job)
        if (progress := int(found["current-progress"])) != seen:
            moved_at, seen = clock(), progress
        elif clock() - moved_at > stalled_after_s:
            raise TemporaryError(
                f"{monitor.name}: the job {job} has got no further for {stalled_after_s:.0f} s", delay=_AGAIN_AFTER_S
            )
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LOOK_AGAIN_S)


async def find_job(monitor: Monitor, job: str) -> Mapping[str, Any] | None:
    """What QEMU says of the job; None if there is none of that name."""
    jobs: list[Mapping[str, Any]] = await monitor.execute("query-jobs")
    return next((each for each in jobs if each["id"] == job), None)


async def give_up_job(monitor: Monitor, job: str) -> None:
    """End the job, whoever began it, and wait until it is gone; nothing if there is none. It must not hang."""
    while (found := await find_job(monitor, job)) is not None:
        with suppress(PermanentError):  # it has just come to its end
            await monitor.execute("job-dismiss" if found["status"] == "concluded" else "job-cancel", id=job)
        await asyncio.sleep(_LOOK_AGAIN_FIRST_S)
