"""One armed member: its QEMU is watched, and run again when that is due."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from entourage.drivers.qemu.cancelling import break_streams, wait_ended
from entourage.drivers.qemu.monitor import GONE, Monitor, MonitorEvent
from entourage.drivers.qemu.process import InstancePaths, favour, running_pid
from entourage.ports.errors import DriverError, PermanentError

_ANSWER_S = 1.0  # QEMU answers within a ms or so, unless it is stuck behind its big lock
_CANCEL_S = 0.3
_OVER_WITHIN_S = 5.0
_TRY_AGAIN_S = 0.2
# How much longer a member that runs is watched when its armer is gone: `stop` may have been sent and not carried out.
_LINGER_S = 2.0

_SOURCE_STATES = ("running", "paused", "finish-migrate", "postmigrate")
_FAILURES = (DriverError, ConnectionError, TimeoutError)

Note = Callable[..., None]  # what has happened to a member, and more by name


class NotArmedError(Exception):
    """A member cannot be armed; the message says why."""


class Ward:
    """A member whose files are `paths`: armed from `begin` on, until `disarm`, or until it is let go.

    `run_again` says whether the guard has begun to run it again, and stays true.
    """

    def __init__(self, paths: InstancePaths, *, deadline_s: float, note: Note) -> None:
        self.is_armed = False
        self.run_again = False
        self._member = paths.base.name
        self._paths = paths
        self._deadline_s = deadline_s
        self._note = note
        self._monitor: Monitor | None = None
        self._is_lost = False  # the monitor, by QEMU's end or otherwise
        self._changed = asyncio.Event()
        self._stands_since: float | None = None  # time.monotonic()
        self._alone_since: float | None = None  # since when its armer is gone
        self._told: MonitorEvent | None = None  # the last STOP or RESUME
        self._stopped_at: float | None = None  # QEMU's time of its last STOP
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Connect to QEMU, see how it is, and watch it. NotArmedError if it does not answer, or is no source."""
        try:
            await self._connect()
        except (*_FAILURES, NotArmedError) as error:
            await self._disconnect()
            raise NotArmedError(f"{self._member}: {_words(error)}") from error
        self.is_armed = True
        self._task = asyncio.create_task(self._watch())

    def leave_alone(self) -> None:
        """Whoever armed it is gone."""
        self._alone_since = time.monotonic()
        self._changed.set()
        if self._stands_since is None:  # else it has to wait no longer than it must
            self._unfavour()

    @property
    def is_standing(self) -> bool:
        """Whether it is armed, and its member stands still or cannot be asked."""
        return self.is_armed and (self._stands_since is not None or self._is_lost)

    def adopt(self, *, deadline_s: float) -> None:
        """Armed once more, by somebody who is there."""
        self._deadline_s, self._alone_since, self.run_again = deadline_s, None, False
        self._changed.set()

    async def disarm(self) -> None:
        """Nothing is begun from now on; returns when nothing is under way."""
        self.is_armed = False
        self._changed.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Disarm, and let go of QEMU."""
        await self.disarm()
        await self._disconnect()

    async def _watch(self) -> None:
        while self.is_armed:
            self._changed.clear()
            due_s = self._due_in()
            if self._is_lost:
                await self._connect_again()
            elif due_s is None or due_s > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(due_s):
                        await self._changed.wait()
            elif self._stands_since is not None:
                await self._run_again(self._stands_since)
            else:
                self._let_go("it runs")
        if self._alone_since is not None:
            await self._disconnect()

    def _due_in(self) -> float | None:
        """Seconds until something is to be done; None if only what QEMU tells can change that."""
        now = time.monotonic()
        if self._alone_since is not None:
            return 0.0 if self._stands_since is not None else self._alone_since + _LINGER_S - now
        return None if self._stands_since is None else self._stands_since + self._deadline_s - now

    async def _run_again(self, stands_since: float) -> None:
        self.run_again = True
        began = time.monotonic()
        try:
            await self._give_up_copy()
            await self._ask("cont")
            if not (await self._ask("query-status"))["running"]:
                raise PermanentError("QEMU says that it does not run")
        except _FAILURES as error:
            self._note("not run yet", self._member, because=_words(error))
            await asyncio.sleep(_TRY_AGAIN_S)
            return
        ended = time.monotonic()
        self._stands_since = None
        self._unfavour()
        self._note(
            "run again",
            self._member,
            because="its armer is gone" if self._alone_since is not None else "its deadline has passed",
            stopped_at=self._stopped_at,
            took_ms=round((ended - began) * 1000, 3),
            stood_still_ms=round((ended - stands_since) * 1000, 3),
            after_armer_ms=round((ended - self._alone_since) * 1000, 3) if self._alone_since is not None else None,
        )
        if self._alone_since is not None:
            self._let_go("it was run again")

    async def _give_up_copy(self) -> None:
        """End the migration: completing, it would stop the member once more. Nothing if there is none."""
        try:
            await self._ask("migrate_cancel", within_s=_CANCEL_S)
        except TimeoutError:
            self._note("break stream", self._member)  # its armer hangs
            assert self._monitor is not None
            async with asyncio.timeout(_ANSWER_S):
                await break_streams(self._monitor.execute_out_of_band)
        async with asyncio.timeout(_OVER_WITHIN_S):
            await wait_ended(self._ask)

    async def _connect(self) -> None:
        self._told = None
        monitor = Monitor(name=self._member, socket=self._paths.guard_monitor, on_event=self._on_event)
        async with asyncio.timeout(_ANSWER_S):
            await monitor.connect()
        self._monitor, self._is_lost = monitor, False
        status = (await self._ask("query-status"))["status"]
        if status not in _SOURCE_STATES:
            raise NotArmedError(f"it is {status}; only a copy that has all of its state can be run again")
        if self._told is None:  # else what was told is newer than the answer
            self._stand(status != "running")

    async def _connect_again(self) -> None:
        """The monitor is lost: either QEMU is gone, or something is odd and has to be tried again."""
        await self._disconnect()
        if running_pid(self._paths) is None:
            self._let_go("its QEMU is gone")
            return
        try:
            await self._connect()
        except (*_FAILURES, NotArmedError) as error:
            self._is_lost = True
            self._note("does not answer", self._member, because=_words(error))
            await asyncio.sleep(_TRY_AGAIN_S)

    def _on_event(self, event: MonitorEvent) -> None:
        if event.name in ("STOP", "RESUME"):
            self._told = event
            self._stand(event.name == "STOP")
            if event.name == "STOP":
                self._stopped_at = event.at
        elif event.name == GONE:
            self._is_lost = True
        else:
            return
        self._changed.set()

    def _stand(self, stands: bool) -> None:
        if not stands:
            self._stands_since = None
        elif self._stands_since is None:
            self._stands_since = time.monotonic()

    async def _ask(self, command: str, *, within_s: float = _ANSWER_S, **arguments: Any) -> Any:  # noqa: ANN401 - QMP's
        assert self._monitor is not None
        async with asyncio.timeout(within_s):
            return await self._monitor.execute(command, **arguments)

    def _let_go(self, because: str) -> None:
        self.is_armed = False
        self._note("let go", self._member, because=because)

    def _unfavour(self) -> None:
        """Ordinary scheduling for QEMU's main thread: whoever favoured it cannot take that back any more."""
        favour(self._paths, yes=False)

    async def _disconnect(self) -> None:
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_ANSWER_S):
                    await monitor.close()


def _words(error: Exception) -> str:
    return str(error) or "its QEMU does not answer in time"
