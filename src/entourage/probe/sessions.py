"""Long-lived TCP sessions: each sends a numbered message every few seconds and expects the right reply.

A closed loop: a session that waits sends nothing. Its waits are judged one by one (the longest, those over 1 s);
for the distribution of latencies see `requests`, which is open.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from entourage.probe.config import ProbeConfig
from entourage.probe.rawlog import LogWriter
from entourage.probe.responses import Response, ResponseReader, UnreadableError

STALL_S = 1.0
_ATTEMPT_S = 5.0
_GOLDEN = 0.6180339887498949


class OpenError(Exception):
    """Not all sessions could be opened in time; the message says how many, where, and the last refusal."""


@dataclass(slots=True)
class SessionTotals:
    """What has been counted since the start. `waits_ms` are the replies since they were last taken."""

    opened: int = 0
    reset: int = 0
    sent: int = 0
    answered: int = 0
    stray: int = 0
    wrong: int = 0
    waits_ms: list[float] = field(default_factory=list)


class Session(asyncio.Protocol):
    """One session. At most one message is outstanding: the next is sent only when this one is answered.

    The session counts as opened when its first message was answered: a load balancer that accepts connections
    while nothing is behind it has opened nothing.
    """

    def __init__(self, number: int, *, pool: "SessionPool") -> None:
        self.number = number
        self.opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting_since: float | None = None  # seconds since the epoch, while a message is outstanding
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._connected_at = 0.0
        self._reader = ResponseReader()
        self._sent = 0
        self._slot = 0.0
        self._lost_reason = "closed by the other side"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first message."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connected_at = time.time()
        self._send()

    def data_received(self, data: bytes) -> None:
        """Handle what `data` completes; give the connection up if it cannot be read any more."""
        now = time.time()
        try:
            for response in self._reader.feed(data):
                self._receive(now, response)
        except UnreadableError as error:
            self._lost_reason = str(error)
            assert self._transport is not None
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """A session is never opened again: what the user would have lost is lost."""
        if self._pool.closed:
            return
        now = time.time()
        last = self._reader.at_eof() if exc is None else None
        if last is not None:
            self._receive(now, last)
        reason = str(exc) if exc else self._lost_reason
        if not self._is_open():
            if not self.opening.done():
                self.opening.set_exception(ConnectionError(reason))
            return
        self.waiting_since = None
        self._pool.lost(now, self, reason)

    def abort(self) -> None:
        """Close at once, without counting it as a reset; the caller is done with this session."""
        if not self.opening.cancel() and not self.opening.cancelled():
            self.opening.exception()  # seen: asyncio need not complain about it
        if self._transport is not None:
            self._transport.abort()

    def send_next(self) -> None:
        """The time of the next message has come: send it, unless the connection is gone or the probe stops."""
        if self._transport is not None and not self._transport.is_closing() and not self._pool.stopping:
            self._send()

    def _is_open(self) -> bool:
        return self.opening.done() and not self.opening.cancelled() and self.opening.exception() is None

    def _send(self) -> None:
        self._sent += 1
        self.waiting_since = time.time()
        assert self._transport is not None
        self._transport.write(self._pool.message(self.number, self._sent))
        if self._is_open():
            self._pool.sent(self.waiting_since, self.number, self._sent)

    def _receive(self, now: float, response: Response) -> None:
        n = self._pool.number_in(response, self.number)
        if not self._is_open():
            self._greeted(now, response, n)
        elif n == self._sent and self.waiting_since is not None:
            self._pool.answered(now, self.number, n=n, wait=now - self.waiting_since)
            self._schedule()
        elif n is not None and 0 < n <= self._sent:
            self._pool.stray(now, self.number, n)  # the outstanding message goes on waiting for its own reply
        else:
            outstanding = self._sent if self.waiting_since is not None else None
            self._pool.wrong(now, self.number, instead_of=outstanding, response=response)
            if outstanding is not None:
                self._schedule()

    def _greeted(self, now: float, response: Response, n: int | None) -> None:
        if n != 1 or self.opening.done() or self.waiting_since is None:
            if not self.opening.done():
                self.opening.set_exception(ConnectionError(_describe(response)))
            return
        self.opening.set_result(None)
        self._pool.opened(self._connected_at, self)
        self._pool.sent(self.waiting_since, self.number, 1)
        self._pool.answered(now, self.number, n=1, wait=now - self.waiting_since)
        self._slot = self._pool.first_slot(self.number)
        self._schedule()

    def _schedule(self) -> None:
        # Slots that passed while a reply was awaited are left out, so the sessions stay spread over the interval.
        self.waiting_since = None
        self._slot = self._pool.call_at_slot(self._slot, self.send_next)


class SessionPool:
    """All sessions of a region: opens them at a bounded rate, records and counts what happens to them."""

    def __init__(self, config: ProbeConfig, log: LogWriter) -> None:
        self.totals = SessionTotals()
        self.stopping = False  # set it to have no more messages sent
        self.closed = False
        self._config = config
        self._log = log
        self._open: dict[int, Session] = {}
        self._loop = asyncio.get_running_loop()

    async def open_all(self) -> None:
        """Open every session, trying again what is refused. Raises OpenError when the deadline has passed."""
        config = self._config
        todo = list(range(config.sessions, 0, -1))
        last_error = "no answer"

        async def attempt(number: int) -> None:
            nonlocal last_error
            error = await self._open_one(number)
            if error is not None:
                last_error = error
                todo.append(number)

        try:
            async with asyncio.timeout(config.open_deadline_s), asyncio.TaskGroup() as attempts:
                while self.totals.opened < config.sessions:
                    # Refused ones queue again, so a service that is down sees no more than this rate either.
                    if todo:
                        attempts.create_task(attempt(todo.pop()))
                    await asyncio.sleep(1 / config.open_rate_per_s)
        except TimeoutError:
            raise OpenError(
                f"{self.totals.opened} of {config.sessions} sessions to {config.address}:{config.session_port} opened "
                f"within {config.open_deadline_s:g} s; the last attempt: {last_error}"
            ) from None

    async def _open_one(self, number: int) -> str | None:
        session = Session(number, pool=self)
        try:
            async with asyncio.timeout(_ATTEMPT_S):
                await self._loop.create_connection(lambda: session, self._config.address, self._config.session_port)
                await session.opening
        except TimeoutError:
            session.abort()
            return f"no answer within {_ATTEMPT_S:g} s"
        except OSError as error:
            session.abort()
            return str(error)
        except asyncio.CancelledError:
            session.abort()
            raise
        return None

    @property
    def open_count(self) -> int:
        """How many sessions are open now."""
        return len(self._open)

    def stalled(self, now: float) -> int:
        """How many sessions have been waiting for a reply for more than STALL_S at `now`."""
        waits = (session.waiting_since for session in self._open.values())
        return sum(1 for since in waits if since is not None and now - since > STALL_S)

    def outstanding(self) -> bool:
        """Whether any session waits for a reply."""
        return any(session.waiting_since is not None for session in self._open.values())

    def close(self) -> None:
        """Close all sessions; none of this is recorded as a reset."""
        self.closed = True
        for session in list(self._open.values()):
            session.abort()

    def first_slot(self, number: int) -> float:
        """The loop time from which session `number` counts its slots."""
        # Golden-ratio phases spread any number of sessions evenly, in no order that could beat with other load.
        interval = self._config.message_interval_s
        return self._loop.time() // interval * interval + number * _GOLDEN % 1 * interval

    def call_at_slot(self, slot: float, action: Callable[[], None]) -> float:
        """Call `action` at the first slot after now, in steps of the interval from `slot`; returns that slot."""
        interval = self._config.message_interval_s
        now = self._loop.time()
        if slot <= now:
            slot += ((now - slot) // interval + 1) * interval
        self._loop.call_at(slot, action)
        return slot

    def message(self, session: int, n: int) -> bytes:
        """The request for message `n`. The region is part of the session's name: a reply of another's is noticed."""
        name = f"{self._config.region}-{session}"
        return f"GET /echo?s={name}&n={n} HTTP/1.1\r\nHost: {self._config.address}\r\n\r\n".encode()

    def number_in(self, response: Response, session: int) -> int | None:
        """Which message of `session` this is the reply to ("<server> <session> <n>\\n"); None: of no message."""
        parts = response.body.split()
        if response.status != 200 or len(parts) != 3 or parts[1] != f"{self._config.region}-{session}".encode():
            return None
        return int(parts[2]) if parts[2].isdigit() else None

    def opened(self, t: float, session: Session) -> None:
        """Count and record an opened session."""
        self._open[session.number] = session
        self.totals.opened += 1
        self._log.open(t, session.number)

    def lost(self, t: float, session: Session, reason: str) -> None:
        """Count and record the end of an open session's connection."""
        self._open.pop(session.number, None)
        self.totals.reset += 1
        self._log.reset(t, session.number, reason)

    def sent(self, t: float, session: int, n: int) -> None:
        """Count and record a sent message."""
        self.totals.sent += 1
        self._log.send(t, session, n)

    def answered(self, t: float, session: int, *, n: int, wait: float) -> None:
        """Count and record a right reply; `wait` in seconds."""
        self.totals.answered += 1
        self.totals.waits_ms.append(wait * 1000)
        self._log.reply(t, session, n)

    def stray(self, t: float, session: int, n: int) -> None:
        """Count and record a reply to an earlier message."""
        self.totals.stray += 1
        self._log.stray(t, session, n)

    def wrong(self, t: float, session: int, *, instead_of: int | None, response: Response) -> None:
        """Count and record a reply that belongs to no message of the session."""
        self.totals.wrong += 1
        self._log.wrong(t, session, instead_of=instead_of, text=_describe(response))


def _describe(response: Response) -> str:
    return f"status {response.status}, {response.body[:60].decode(errors='replace').strip()!r}"
