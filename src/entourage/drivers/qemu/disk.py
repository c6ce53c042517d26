"""A member's writable disk on its way: mirrored to the target while the member runs, and switched with its memory.

The target's QEMU exports an empty disk over NBD, the source's copies into it and sends every later write there, too.
When the member stands still the mirror is ended, which it does only when source and target are the same; then the
export is closed, and only then the memory's last part is sent. So a target that is whole has the whole disk, and no
other writer. A mirror that fails leaves the source as it is: its own disk is the one that counts until the commit.
Source: QEMU 7.2, "Live Block Device Operations", section "QMP invocation for live storage migration".
"""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from entourage.drivers.qemu.blocks import find_job, give_up_job
from entourage.drivers.qemu.monitor import Monitor, MonitorEvent
from entourage.ports.errors import DriverError, OutcomeUnknownError, PermanentError

NODE = "disk"  # a member's disk in its QEMU, and the name of its export
FIRST_PORT, PORTS = 7200, 100  # where exports are
STAGE = "replication-stage"  # the job that copies the disk, or a part of it, for a replica at another site
_JOB, _REMOTE = "mirror", "disk-at-target"
_ENDED = ("concluded", "null")
_READY_WITHIN_S, _FINISHED_WITHIN_S, _GIVEN_UP_WITHIN_S = 600.0, 5.0, 5.0


async def export(monitor: Monitor, *, address: str, encryption: Mapping[str, str]) -> int:
    """At the target: let the disk be written from outside; the port. `encryption`: `tls.OF_EXPORT`, or nothing."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        listening = {"type": "inet", "data": {"host": address, "port": str(port)}}
        try:
            await monitor.execute("nbd-server-start", addr=listening, **encryption)
        except PermanentError:
            continue
        await monitor.execute("block-export-add", id=NODE, type="nbd", node_name=NODE, name=NODE, writable=True)
        return port
    raise PermanentError(f"{monitor.name}: no free port between {FIRST_PORT} and {FIRST_PORT + PORTS - 1}")


async def close_export(monitor: Monitor) -> None:
    """At the target: nobody from outside writes any more."""
    await monitor.execute("nbd-server-stop")


def make_durable(path: Path) -> None:
    """At the target, when everything has been written: it stays written, as the guest was told."""
    with path.open("rb+") as disk:
        os.fsync(disk)


class Mirror:
    """The mirror of one disk, seen from the source. Events arrive by `on_event`."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._status = "none"
        self._error: str | None = None
        self._changed = asyncio.Event()

    def on_event(self, event: MonitorEvent) -> None:
        """Note what the source's QEMU reports."""
        if event.name == "JOB_STATUS_CHANGE" and event.data["id"] == _JOB:
            self._status = str(event.data["status"])
        elif event.name in ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_ERROR") and event.data["device"] == _JOB:
            self._error = event.data.get("error", self._error)
            if event.name == "BLOCK_JOB_ERROR":
                self._error = self._error or f"a {event.data.get('operation')} failed"
        else:
            return
        self._changed.set()

    async def begin(self, socket: str, *, pace: int) -> None:
        """Copy everything, and return when source and target are the same; from then on they stay so.

        At `socket`, as QEMU sees it, somebody waits who passes on what is written.
        """
        await self.give_up()
        await give_up_job(self._monitor, STAGE)  # a round of replication has to wait, not a move
        where = {"type": "unix", "path": socket}
        await self._monitor.execute("blockdev-add", driver="nbd", node_name=_REMOTE, server=where, export=NODE)
        await self._monitor.execute(
            "blockdev-mirror",
            job_id=_JOB,
            device=NODE,
            target=_REMOTE,
            sync="full",
            speed=pace,
            on_target_error="report",
        )
        await self._wait("ready", _READY_WITHIN_S)

    async def finish(self) -> None:
        """The member stands still: end when the target has everything. PermanentError if it does not get it."""
        # An orderly cancel of a mirror that is ready ends it in step; completing it would make the source use the
        # target's disk from now on.
        await self._monitor.execute("block-job-cancel", device=_JOB)
        await self._wait("ended", _FINISHED_WITHIN_S)
        if self._error is not None:
            raise PermanentError(f"{self._monitor.name}: the disk's mirror ended with: {self._error}")
        await self._forget()

    async def give_up(self) -> None:
        """End it, however far it is, also one that somebody else began; nothing if there is none.

        Its stream is broken first: QEMU waits for what it has asked for before it closes a node, answering nobody else,
        and a beginner that is not gone but stands still never answers.
        """
        with suppress(PermanentError):  # there is none
            await self._monitor.execute_out_of_band("yank", instances=[{"type": "block-node", "node-name": _REMOTE}])
        jobs: list[dict[str, Any]] = await self._monitor.execute("query-block-jobs")
        if any(job["device"] == _JOB for job in jobs):
            with suppress(PermanentError):  # it has just ended
                await self._monitor.execute("block-job-cancel", device=_JOB, force=True)
            async with asyncio.timeout(_GIVEN_UP_WITHIN_S):
                while await find_job(self._monitor, _JOB):  # noqa: ASYNC110 - its events may be another's
                    await asyncio.sleep(0.01)
        await self._forget()

    async def _forget(self) -> None:
        with suppress(PermanentError):  # there is none
            await self._monitor.execute("blockdev-del", node_name=_REMOTE)

    async def _wait(self, wanted: str, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                while self._status not in (wanted, *_ENDED):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise OutcomeUnknownError(f"{self._monitor.name}: the disk's mirror is {self._status}") from error
        if wanted == "ready" and self._status != "ready":
            raise PermanentError(f"{self._monitor.name}: the disk's mirror ended early: {self._error or 'no reason'}")


async def give_up_any(monitor: Monitor) -> None:
    """End a mirror whose beginner is gone, if there is one; a member without a disk has none."""
    with suppress(DriverError, TimeoutError):
        await Mirror(monitor).give_up()
