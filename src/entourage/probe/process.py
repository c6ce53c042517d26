"""The probe process: opens everything, measures until SIGTERM, finishes cleanly."""

import argparse
import asyncio
import gc
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from entourage.probe.config import ConfigError, ProbeConfig, read_config
from entourage.probe.kernel import (
    KernelError,
    allow_descriptors,
    become_realtime,
    die_with_parent,
    enter_network_namespace,
)
from entourage.probe.quantiles import quantile
from entourage.probe.rawlog import LogWriter
from entourage.probe.requests import RequestStream
from entourage.probe.sessions import OpenError, SessionPool
from entourage.probe.status import Status
from entourage.probe.stream import PacketStream

FINISH_S = 2.0
_TICK_S = 1.0
_STEP_MS = 1.0
_SPARE_DESCRIPTORS = 256


class Probe:
    """One region's measuring clients and the log that they share."""

    def __init__(self, config: ProbeConfig, log: LogWriter) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._sessions = SessionPool(config, log)
        self._requests = RequestStream(config, log)
        self._stream = PacketStream(config, log)
        self._clock_offset = time.time() - time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Measure until `stop` is set. Raises OpenError if not all sessions could be opened."""
        opening = asyncio.create_task(self._sessions.open_all())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                raise OpenError(f"stopped while {self._sessions.open_count} sessions were open and more were opening")
            opening.result()
            gc.collect()
            gc.freeze()  # what lives as long as the process need not be looked at again and again
            self._stream.start()
            self._requests.start()
            self._log.flush()
            _say("ready")
            while not stop.is_set():
                await asyncio.wait((stopping,), timeout=_TICK_S)
                self._tick()
        finally:
            opening.cancel()
            stopping.cancel()
            await self._finish()

    def _tick(self) -> None:
        now = time.time()
        offset = now - time.monotonic()
        if abs(step_ms := (offset - self._clock_offset) * 1000) > _STEP_MS:
            self._log.step(now, step_ms)
        self._clock_offset = offset
        self._log.flush()  # before the status: what it tells of is in the log
        _say(json.dumps(self._status(now).to_json()))

    def _status(self, now: float) -> Status:
        sessions, requests, stream = self._sessions, self._requests, self._stream
        status = Status(
            t=round(now, 6),
            open=sessions.open_count,
            reset=sessions.totals.reset,
            wrong=sessions.totals.wrong,
            stalled_now=sessions.stalled(now),
            p50_ms=_p50(sessions.totals.waits_ms),
            requests=requests.count,
            requests_failed=requests.failed,
            request_p50_ms=_p50(requests.latencies_ms),
            packets=stream.sent,
            echoes=stream.echoed,
            stream_gap_ms=_rounded(stream.take_gap_ms(now)),
        )
        sessions.totals.waits_ms.clear()
        requests.latencies_ms.clear()
        return status

    async def _finish(self) -> None:
        """Wait a little for what is outstanding, then close everything and write the totals."""
        self._sessions.stopping = True
        self._requests.stop()
        self._stream.stop()
        deadline = self._loop.time() + FINISH_S
        parts = (self._sessions, self._requests, self._stream)
        while any(part.outstanding() for part in parts) and self._loop.time() < deadline:  # noqa: ASYNC110  # few looks
            await asyncio.sleep(0.02)
        now = time.time()
        await self._requests.close()
        self._sessions.close()
        self._stream.close()
        totals = self._sessions.totals
        self._log.end(
            now,
            {
                "opened": totals.opened,
                "reset": totals.reset,
                "sent": totals.sent,
                "answered": totals.answered,
                "stray": totals.stray,
                "wrong": totals.wrong,
                "requests": self._requests.count,
                "requests_failed": self._requests.failed,
                "packets": self._stream.sent,
                "echoes": self._stream.echoed,
            },
        )


def run(arguments: Sequence[str]) -> int:
    """Run a probe until SIGTERM or SIGINT; returns the exit code: 0, 1 (failed), or 2 (wrong usage)."""
    parser = argparse.ArgumentParser(prog="python -m entourage.probe", description=__doc__)
    parser.add_argument("config", help='JSON file with the configuration, or "-" for standard input')
    parser.add_argument("--parent", type=int, help="die with the process of this id, which must have started this one")
    options = parser.parse_args(arguments)
    _never_block_on_stdout()
    try:
        if options.parent is not None:
            die_with_parent(options.parent)
        config = read_config(options.config)
        if config.netns is not None:
            enter_network_namespace(config.netns)
        allow_descriptors(config.sessions + _SPARE_DESCRIPTORS)
        realtime = config.realtime and become_realtime()
        with LogWriter(config.log) as log:
            log.begin(time.time(), {**config.to_json(), "realtime": realtime})
            asyncio.run(_run_until_signal(config, log))
    except (ConfigError, OpenError, KernelError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return 0


async def _run_until_signal(config: ProbeConfig, log: LogWriter) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Probe(config, log).run(stop)


def _fail(reason: str) -> int:
    _say(f"failed: {reason}")
    sys.stderr.write(f"entourage.probe: {reason}\n")
    return 1


def _never_block_on_stdout() -> None:
    # A reader that is slow or gone must not stop the measuring; only pipes, since others share a terminal with us.
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        os.set_blocking(1, False)


def _say(line: str) -> None:
    with suppress(BlockingIOError, BrokenPipeError):  # nobody reads: the log has it all
        os.write(1, f"{line}\n".encode())  # shorter than PIPE_BUF: written whole or not at all


def _p50(values: list[float]) -> float | None:
    return _rounded(quantile(values, 0.5))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
