"""One QEMU's QMP monitor: commands, and events with QEMU's own time stamps."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qemu.qmp import ExecInterruptedError, ExecuteError, QMPClient, QMPError, Runstate

from entourage.ports.errors import OutcomeUnknownError, PermanentError

logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)  # a VM that ends is an event for us, not an error


_CUT_OFF_WITHIN_S = 2.0
GONE = "GONE"  # our own event, after QEMU's last: the monitor's other end went away


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorEvent:
    """A QMP event. `at` is QEMU's time of it, in seconds since the epoch."""

    name: str
    data: Mapping[str, Any]
    at: float


EventCallback = Callable[[MonitorEvent], None]


class Monitor:
    """A connection to a QMP socket. `on_event` is called for each event, in order, in the loop's thread."""

    def __init__(self, *, name: str, socket: Path, on_event: EventCallback | None = None) -> None:
        self.name = name
        self._socket = socket
        self._on_event = on_event
        self._client = QMPClient(name)
        self._reader: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect and negotiate. Raises ConnectionError if nobody answers there."""
        try:
            await self._client.connect(str(self._socket))
        except (QMPError, OSError, EOFError, AssertionError) as error:
            # The client asserts that it is connected still: not so if QEMU dies in just that moment.
            raise ConnectionError(f"{self.name}: no QMP at {self._socket}: {error!r}") from error
        self._reader = asyncio.create_task(self._read_events(), name=f"qmp-{self.name}")

    async def execute(self, command: str, **arguments: Any) -> Any:  # noqa: ANN401 - QMP replies have no one type
        """Run a command (`_` in argument names is written `-`) and return what QEMU answers.

        Raises PermanentError if QEMU refuses, OutcomeUnknownError if it went away before answering.
        """
        return await self._ask(command, arguments, out_of_band=False)

    async def execute_out_of_band(self, command: str, **arguments: Any) -> Any:  # noqa: ANN401
        """As `execute`, for the few commands that QEMU carries out while its main thread hangs (QMP, 2.3.1)."""
        return await self._ask(command, arguments, out_of_band=True)

    async def _ask(self, command: str, arguments: Mapping[str, Any], *, out_of_band: bool) -> Any:  # noqa: ANN401
        message = {key.replace("_", "-"): value for key, value in arguments.items()}
        try:
            return await self._client.execute(command, message or None, oob=out_of_band)
        except ExecuteError as error:
            raise PermanentError(f"{self.name}: QEMU refused {command}: {error}") from error
        except (ExecInterruptedError, QMPError, OSError, EOFError) as error:
            raise OutcomeUnknownError(f"{self.name}: QEMU did not answer {command}: {error!r}") from error

    async def send_fd(self, fd: int, *, name: str) -> None:
        """Hand the file descriptor to QEMU under `name`."""
        self._client.send_fd_scm(fd)
        await self.execute("getfd", fdname=name)

    async def close(self) -> None:
        """Disconnect, whatever state the other side is in."""
        with suppress(QMPError, OSError, EOFError):
            await self._client.disconnect()
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader

    async def _read_events(self) -> None:
        gone = asyncio.create_task(self._wait_gone())
        event: asyncio.Task[Any] | None = None
        try:
            while True:
                event = asyncio.create_task(self._client.events.get())
                await asyncio.wait({event, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not event.done():
                    break
                self._deliver(event.result())
        finally:
            gone.cancel()
            if event is not None:
                event.cancel()
        if self._on_event is not None:
            self._on_event(MonitorEvent(name=GONE, data={}, at=time.time()))

    async def _wait_gone(self) -> None:
        while self._client.runstate is Runstate.RUNNING:
            await self._client.runstate_changed()

    def _deliver(self, message: Mapping[str, Any]) -> None:
        if self._on_event is None:
            return
        stamp = message["timestamp"]
        at = stamp["seconds"] + stamp["microseconds"] / 1e6
        self._on_event(MonitorEvent(name=str(message["event"]), data=message.get("data", {}), at=at))


async def cut_off(chardev: str, *, by: Path) -> None:
    """Break the connection of whoever has the monitor on this character device, asked for at the socket `by`.

    ConnectionError if nobody answers there.
    """
    monitor = Monitor(name=str(by), socket=by)
    try:
        async with asyncio.timeout(_CUT_OFF_WITHIN_S):
            await monitor.connect()
            with suppress(PermanentError):  # it has just gone by itself
                await monitor.execute_out_of_band("yank", instances=[{"type": "chardev", "id": chardev}])
    except (TimeoutError, OutcomeUnknownError) as error:
        raise ConnectionError(f"no QMP at {by}: {error or 'no answer'}") from error
    finally:
        await monitor.close()
