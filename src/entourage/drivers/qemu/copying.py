"""One member's copy under way: the source's migration, the gate in its stream, and what both ends report."""

import asyncio
import math
import time
from typing import Any

from entourage.drivers.qemu.disk import Mirror
from entourage.drivers.qemu.gate import StreamGate
from entourage.drivers.qemu.monitor import GONE, Monitor, MonitorEvent
from entourage.drivers.qemu.promises import Hastening
from entourage.drivers.qemu.proxy import ExportProxy
from entourage.model.ids import HostId
from entourage.model.world import Member
from entourage.ports.errors import OutcomeUnknownError, PermanentError
from entourage.ports.hypervisor import CopyProgress, CopyRound, ProgressCallback

_SAMPLE_S = 0.5  # how often progress is shown; QEMU has no event for it
_ENDED = ("completed", "failed", "cancelled")


class Copying:
    """The copy of one member from `source` to `target`. Events arrive by `on_source_event` and `on_target_event`."""

    def __init__(self, member: Member, *, source: HostId, target: HostId) -> None:
        self.member = member
        self.source = source
        self.target = target
        self.gate: StreamGate | None = None
        self.proxy: ExportProxy | None = None  # on the way of the member's disk, if it has one
        self.mirror: Mirror | None = None  # of that disk
        self.disk_steps = 0  # of switching it, done so far
        self.stopped_at: float | None = None
        self.resumed_at: float | None = None
        self.is_told_to_stop = False
        self.hastening: Hastening | None = None  # the thread that sends
        self.is_favoured = False  # both ends' main threads, since the first refresh
        self._passes = 0
        self._memory_left = 0  # bytes of memory to be sent in the next pass
        self._sent_per_byte = 1.0  # bytes in the stream for each of them, as the last pass had it
        self._source_status = "none"
        self._target_status = "none"
        self._changed = asyncio.Event()

    async def release(self) -> None:
        """Break the streams off. May be called twice."""
        if self.hastening is not None:
            self.hastening.cancel()
        if self.gate is not None:
            await asyncio.to_thread(self.gate.release)
        if self.proxy is not None:
            await self.proxy.close()

    def on_source_event(self, event: MonitorEvent) -> None:
        """Note what the source's QEMU reports."""
        if self.mirror is not None:
            self.mirror.on_event(event)
        if event.name == "MIGRATION_PASS":
            self._passes = int(event.data["pass"])
            # Here rather than in the task that waits: each ms counts while the next pass is flowing already.
            if self.gate is not None and self._passes >= 2 and self.stopped_at is None:
                self.gate.close()
        elif event.name == "STOP":
            self.stopped_at = event.at
            # Stopped by itself QEMU writes with its big lock held: behind a closed gate it would answer nobody. One
            # that was told to has answered already, and its drain would cost others the CPU that they need to stop.
            if self.gate is not None and not self.is_told_to_stop:
                self.gate.open()
        elif event.name == "RESUME":
            self.stopped_at = None
        elif event.name == "MIGRATION":
            self._source_status = str(event.data["status"])
        elif event.name == GONE:
            self._source_status = "gone"
        self._changed.set()

    def on_target_event(self, event: MonitorEvent) -> None:
        """Note what the target's QEMU reports."""
        if event.name == "MIGRATION":
            self._target_status = str(event.data["status"])
        elif event.name == "RESUME":
            self.resumed_at = event.at
        elif event.name == GONE:
            self._target_status = "gone"
        self._changed.set()

    async def next_pass(self, monitor: Monitor, *, pace: float = math.inf) -> CopyRound:
        """Let the stream flow, at `pace` bytes/s at the most, until one more pass begins; the gate is closed then."""
        assert self.gate is not None
        wanted = max(self._passes + 1, 2)
        sent_before = self.gate.bytes_sent
        if self.stopped_at is None:
            self.gate.open(pace=pace)
        while self._passes < wanted and self.stopped_at is None:
            self._raise_if_broken()
            await self._wait_change()
        memory = await self._left(monitor)
        # Pages that change over and over are sent as differences (xbzrle): as the last pass went, so will the next.
        if self._memory_left:
            self._sent_per_byte = min(1.0, (self.gate.bytes_sent - sent_before) / self._memory_left)
        self._memory_left = memory
        left = round(memory * self._sent_per_byte)
        return CopyRound(left=left, takes_s=self.gate.takes_s(left), stopped_at=self.stopped_at)

    def repace(self, pace: float) -> None:
        """Another pace for the pass that is flowing, if one is."""
        assert self.gate is not None
        if self.gate.is_open and self.stopped_at is None:
            self.gate.open(pace=pace)

    async def _left(self, monitor: Monitor) -> int:
        """Bytes of memory not sent yet. 0 if the member stopped meanwhile: then QEMU may be too busy to answer."""
        query = asyncio.create_task(monitor.execute("query-migrate"))
        while not query.done() and self.stopped_at is None:
            change = asyncio.create_task(self._wait_change())
            await asyncio.wait({query, change}, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
        if not query.done():
            query.add_done_callback(lambda late: late.exception())  # whatever it says, nobody asks any more
            return 0
        return int(query.result().get("ram", {}).get("remaining", 0))

    async def wait_stopped(self) -> float:
        """Until the source stands still; the time of it."""
        while self.stopped_at is None:
            await self._wait_change()
        return self.stopped_at

    @property
    def is_received(self) -> bool:
        """Whether both ends have said that everything has arrived."""
        return self._source_status == "completed" == self._target_status

    async def wait_switchover(self) -> None:
        """Until the source stands still and has only the last part to send, which it keeps until it is told to."""
        while self._source_status != "pre-switchover":
            self._raise_if_broken()
            await self._wait_change()

    async def wait_received(self) -> None:
        """Until the target has everything and stands still there."""
        assert self.gate is not None
        self.gate.open()
        while not self.is_received:
            self._raise_if_broken()
            await self._wait_change()

    async def wait_migrated(self) -> tuple[float, float]:
        """Until QEMU's own migration has paused the source and resumed the target: both times."""
        while self.stopped_at is None or self.resumed_at is None or self._source_status != "completed":
            self._raise_if_broken()
            await self._wait_change()
        return self.stopped_at, self.resumed_at

    async def show_progress(self, monitor: Monitor, progress: ProgressCallback) -> None:
        """Report how far the copy is, until cancelled."""
        before, then = 0, time.monotonic()
        while True:
            await asyncio.sleep(_SAMPLE_S)
            reply: dict[str, Any] = await monitor.execute("query-migrate")
            ram = reply.get("ram", {})
            now, copied = time.monotonic(), int(ram.get("transferred", 0))
            rate = (copied - before) * 8 / (now - then)
            progress(self.progress(ram, rate=rate))
            before, then = copied, now

    def progress(self, ram: dict[str, Any], *, rate: float) -> CopyProgress:
        """QEMU's `ram` figures in our words."""
        return CopyProgress(
            member=self.member.id,
            copied=int(ram.get("transferred", 0)),
            left=int(ram.get("remaining", 0)),
            rate=rate,
            passes=self._passes,
            held=self.gate is not None and not self.gate.is_open,
        )

    def is_over(self) -> bool:
        """Whether the source's migration has ended, one way or another."""
        return self._source_status in (*_ENDED, "gone")

    async def _wait_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _raise_if_broken(self) -> None:
        where = f"copy of {self.member.id} from {self.source} to {self.target}"
        if "gone" in (self._source_status, self._target_status):
            side = self.source if self._source_status == "gone" else self.target
            raise OutcomeUnknownError(f"{where}: QEMU on {side} is gone")
        for side, status in ((self.source, self._source_status), (self.target, self._target_status)):
            if status in ("failed", "cancelled"):
                raise PermanentError(f"{where}: the migration {status} on {side}")
