"""The raw log of a probe: one JSON array a line, what happened first and when second.

Times are seconds since the epoch with microseconds (the kernel's real-time clock, which the hypervisors' events
and packet time stamps use too). Lines are not sorted by time: a request is written when it has ended.

    ["begin", t, {format, realtime, and the configuration}]
    ["open", t, session]                   connected; written after the first right reply
    ["send", t, session, n]                message n was handed to the kernel
    ["reply", t, session, n]               the right reply to the message that was waiting
    ["stray", t, session, n]               again or only now the reply to an earlier message; the newest still waits
    ["wrong", t, session, n or null, text] another reply in place of the one to n (null: none was waiting)
    ["reset", t, session, text]            the connection ended, and not by us; it is not opened again
    ["request", t, latency_ms, text]       a short request: scheduled at t; "ok", "unfinished" or what went wrong
    ["packet", t, sequence]                a packet of the stream was sent
    ["echo", t, sequence]                  its echo arrived (time stamp of the kernel)
    ["step", t, ms]                        the clock was set: times before and after differ by so much
    ["end", t, {totals}]                   the probe finished cleanly
"""

import json
from types import TracebackType
from typing import Self

FORMAT = "entourage.probe-log/1"


class LogWriter:
    """Appends records to a raw log. Lines are kept in memory until `flush`: nothing blocks between two flushes."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115  # closed by __exit__
        self._lines: list[str] = []

    def begin(self, t: float, facts: dict[str, object]) -> None:
        """The first record."""
        self._lines.append(f'["begin",{t:.6f},{json.dumps({"format": FORMAT, **facts})}]\n')

    def open(self, t: float, session: int) -> None:
        """A session is open."""
        self._lines.append(f'["open",{t:.6f},{session}]\n')

    def send(self, t: float, session: int, n: int) -> None:
        """Message `n` was sent."""
        self._lines.append(f'["send",{t:.6f},{session},{n}]\n')

    def reply(self, t: float, session: int, n: int) -> None:
        """Message `n` was answered rightly."""
        self._lines.append(f'["reply",{t:.6f},{session},{n}]\n')

    def stray(self, t: float, session: int, n: int) -> None:
        """A reply to the earlier message `n` came."""
        self._lines.append(f'["stray",{t:.6f},{session},{n}]\n')

    def wrong(self, t: float, session: int, *, instead_of: int | None, text: str) -> None:
        """A reply that belongs to no message of this session came."""
        self._lines.append(f'["wrong",{t:.6f},{session},{json.dumps(instead_of)},{json.dumps(text)}]\n')

    def reset(self, t: float, session: int, text: str) -> None:
        """A session's connection ended."""
        self._lines.append(f'["reset",{t:.6f},{session},{json.dumps(text)}]\n')

    def request(self, t: float, *, latency_ms: float, text: str) -> None:
        """A short request that was scheduled at `t` has ended."""
        self._lines.append(f'["request",{t:.6f},{latency_ms:.3f},{json.dumps(text)}]\n')

    def packet(self, t: float, sequence: int) -> None:
        """A packet of the stream was sent."""
        self._lines.append(f'["packet",{t:.6f},{sequence}]\n')

    def echo(self, t: float, sequence: int) -> None:
        """The echo of a packet arrived."""
        self._lines.append(f'["echo",{t:.6f},{sequence}]\n')

    def step(self, t: float, ms: float) -> None:
        """The clock was set."""
        self._lines.append(f'["step",{t:.6f},{ms:.3f}]\n')

    def end(self, t: float, totals: dict[str, object]) -> None:
        """The last record."""
        self._lines.append(f'["end",{t:.6f},{json.dumps(totals)}]\n')

    def flush(self) -> None:
        """Hand all records to the operating system."""
        self._file.write("".join(self._lines))
        self._file.flush()
        self._lines.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        self._file.close()
