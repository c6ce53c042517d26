"""Short HTTP requests, each on a new TCP connection, at a steady rate."""

import asyncio
import time

from entourage.probe.config import ProbeConfig
from entourage.probe.rawlog import LogWriter
from entourage.probe.responses import Response, ResponseReader, UnreadableError

TIMEOUT_S = 5.0
_GOLDEN = 0.6180339887498949


class _Exchange(asyncio.Protocol):
    """One request and its response on one connection."""

    def __init__(self, request: bytes) -> None:
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._request = request
        self._reader = ResponseReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.response.done():
            return
        try:
            responses = self._reader.feed(data)
        except UnreadableError as error:
            self.response.set_exception(error)
            return
        if responses:
            self.response.set_result(responses[0])

    def connection_lost(self, exc: Exception | None) -> None:
        if self.response.done():
            return
        last = self._reader.at_eof() if exc is None else None
        if last is not None:
            self.response.set_result(last)
        else:
            self.response.set_exception(exc or ConnectionError("closed before the response was complete"))


class RequestStream:
    """An open loop: requests start at their scheduled times, whatever became of those before.

    One in each period, at another moment of it each time: at the same one they would meet the same ones of the
    sessions' messages again and again, and measure a coincidence.

    Latency counts from the scheduled time. A closed loop (next request after the last response), or counting from
    the actual start, would leave out just the requests that a stall delays: "coordinated omission" (Gil Tene).
    """

    def __init__(self, config: ProbeConfig, log: LogWriter) -> None:
        self.count = 0
        self.failed = 0
        self.latencies_ms: list[float] = []  # of the successful ones since they were last taken
        self._config = config
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0
        self._request = f"GET / HTTP/1.1\r\nHost: {config.address}\r\nConnection: close\r\n\r\n".encode()

    def start(self) -> None:
        """Begin, if the rate is above 0."""
        if self._config.requests_per_s > 0:
            self._started = self._loop.time()
            self._tick()

    def stop(self) -> None:
        """Start no more requests."""
        if self._timer is not None:
            self._timer.cancel()

    def outstanding(self) -> bool:
        """Whether any request has not ended."""
        return bool(self._tasks)

    async def close(self) -> None:
        """Give up the requests that have not ended; they are recorded as unfinished."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _tick(self) -> None:
        now = self._loop.time()
        while (due := self._due(self._next)) <= now:
            task = self._loop.create_task(self._run(due))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._next += 1
        self._timer = self._loop.call_at(due, self._tick)

    def _due(self, number: int) -> float:
        return self._started + (number + number * _GOLDEN % 1) / self._config.requests_per_s

    async def _run(self, due: float) -> None:
        scheduled_at = time.time() - (self._loop.time() - due)
        text = "unfinished"
        try:
            text = await self._outcome(due)
        finally:
            latency_ms = (self._loop.time() - due) * 1000
            self._record(scheduled_at, latency_ms=latency_ms, text=text)

    async def _outcome(self, due: float) -> str:
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout_at(due + TIMEOUT_S):
                transport, exchange = await self._loop.create_connection(
                    lambda: _Exchange(self._request), self._config.address, self._config.request_port
                )
                response = await exchange.response
        except TimeoutError:
            return f"no response within {TIMEOUT_S:g} s"
        except (OSError, UnreadableError) as error:
            return str(error)
        finally:
            if transport is not None:
                transport.abort()
        return "ok" if response.status == 200 else f"status {response.status}"

    def _record(self, scheduled_at: float, *, latency_ms: float, text: str) -> None:
        self._log.request(scheduled_at, latency_ms=latency_ms, text=text)
        self.count += 1
        if text == "ok":
            self.latencies_ms.append(latency_ms)
        elif text != "unfinished":
            self.failed += 1
