"""What raw logs say. Pure (`reading` reads the files); every figure is counted from records, none is guessed.

A window is [start, end) in seconds since the epoch. To judge a move, begin it just before the move and let the log
go on for at least one message interval and `PATIENCE_S` after it: every session has then shown that it still works.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import pairwise

from entourage.probe.quantiles import quantile

PATIENCE_S = 1.0


class Ending(Enum):
    """How the wait for the reply to a message ended."""

    ANSWERED = "answered"  # by the right reply, while the message was outstanding
    LATE = "late"  # by the right reply, after another reply had come in its place
    WRONG = "wrong"  # by a reply that belongs to no message of the session
    RESET = "reset"  # with the connection
    OPEN = "open"  # not at all: still waiting where the log ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One numbered message of a session, sent at `sent_at`; its wait ended at `until` (seconds since the epoch)."""

    number: int
    sent_at: float
    until: float
    ending: Ending

    @property
    def answered(self) -> bool:
        """Whether its right reply came, in time or not."""
        return self.ending in {Ending.ANSWERED, Ending.LATE}

    @property
    def lost(self) -> bool:
        """Whether its reply will not come, or has not come within PATIENCE_S at the end of the log."""
        if self.ending is Ending.OPEN:
            return self.until - self.sent_at >= PATIENCE_S
        return not self.answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One session: `reset_at` is None if it was open until the end of the log. Times of duplicated replies."""

    region: str
    number: int
    opened_at: float
    reset_at: float | None
    messages: tuple[Message, ...]
    duplicates: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A short request: `outcome` is "ok", "unfinished" (the probe was stopped first), or what went wrong."""

    scheduled_at: float
    latency_ms: float
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One region's packets: (time, sequence) as sent and as they came back, each in order of time.

    `observed_until` is how far the log goes.
    """

    region: str
    packets: tuple[tuple[float, int], ...]
    echoes: tuple[tuple[float, int], ...]
    observed_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeLog:
    """What one probe saw, or, merged, several. `warnings` says what the reader of figures should know."""

    sessions: tuple[Session, ...]
    requests: tuple[Request, ...]
    streams: tuple[Stream, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """What became of the sessions in a window.

    opened: sessions opened before the end of the window and not reset before its start.
    survived: those of them that were not reset before its end, lost no message that was outstanding at its start or
        sent in it, and had a right reply after its start (one after its end counts: it proves the session alive).
    reset: those of them whose connection ended within the window.
    stalled_over_1s: sessions with a message that waited for more than 1 s, any part of the wait in the window.
    lost: messages sent in the window whose reply will not come (another reply came in its place, or the connection
        ended), or had not come 1 s later where the log ends.
    reordered: messages sent in the window whose reply came after another reply had come in its place.
    duplicated: replies in the window to messages that had already been answered.
    longest_stall_ms: the longest wait, of any length, that has a part in the window; 0 if there was none.
    """

    opened: int
    survived: int
    reset: int
    stalled_over_1s: int
    lost: int
    reordered: int
    duplicated: int
    longest_stall_ms: float

    def to_json(self) -> dict[str, object]:
        """A JSON object with the fields' names."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSummary:
    """The short requests scheduled in a window.

    count: those that ended, one way or the other; failed: those of them without a complete response of status 200
    within 5 s. p50_ms, p99_ms: of the others, from the scheduled time; None if there are none.
    """

    count: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None

    def to_json(self) -> dict[str, object]:
        """A JSON object with the fields' names."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSummary:
    """The packets of all streams in a window.

    sent: packets sent in the window; lost: those of them without an echo, 1 s or more before the end of the log.
    reordered: first echoes that came in the window after the echo of a later packet (RFC 4737, section 3).
    duplicated: echoes that came in the window for packets whose echo had come before.
    longest_gap_ms, gap_start: the longest time without an echo that has a part in the window, in full even where it
        reaches over the window's edges, and when it began. Echoes of one region are not seen as those of another's.
        Before the first echo the first packet sent stands in for it, after the last one the last packet sent.
        None if nothing was sent.
    longest_send_gap_ms: the longest time between two packets sent that has a part in the window: as much of a gap
        may be the probe's own. None if there are no two.
    p50_ms: the round-trip time of packets sent in the window; None if no echo came.
    """

    sent: int
    lost: int
    reordered: int
    duplicated: int
    longest_gap_ms: float | None
    gap_start: float | None
    longest_send_gap_ms: float | None
    p50_ms: float | None

    def to_json(self) -> dict[str, object]:
        """A JSON object with the fields' names."""
        return asdict(self)


def merge(logs: Iterable[ProbeLog]) -> ProbeLog:
    """Several regions' logs as one; sessions and streams keep their regions."""
    logs = tuple(logs)
    return ProbeLog(
        sessions=tuple(session for log in logs for session in log.sessions),
        requests=tuple(request for log in logs for request in log.requests),
        streams=tuple(stream for log in logs for stream in log.streams),
        warnings=tuple(warning for log in logs for warning in log.warnings),
    )


def summarise_sessions(log: ProbeLog, *, start: float, end: float) -> SessionSummary:
    """What became of the sessions from `start` to before `end`; see SessionSummary for what counts as what."""
    sessions = [s for s in log.sessions if s.opened_at < end and (s.reset_at is None or s.reset_at >= start)]
    sent = [m for s in sessions for m in s.messages if start <= m.sent_at < end]
    waits = [max((m.until - m.sent_at for m in s.messages if _touches(m, start, end)), default=0.0) for s in sessions]
    return SessionSummary(
        opened=len(sessions),
        survived=sum(_survived(s, start, end) for s in sessions),
        reset=sum(s.reset_at is not None and s.reset_at < end for s in sessions),
        stalled_over_1s=sum(wait > 1 for wait in waits),
        lost=sum(m.lost for m in sent),
        reordered=sum(m.ending is Ending.LATE for m in sent),
        duplicated=sum(start <= t < end for s in sessions for t in s.duplicates),
        longest_stall_ms=max(waits, default=0.0) * 1000,
    )


def summarise_requests(log: ProbeLog, *, start: float, end: float) -> RequestSummary:
    """The requests scheduled from `start` to before `end`; those that the probe's own end cut short are left out."""
    requests = [r for r in log.requests if start <= r.scheduled_at < end and r.outcome != "unfinished"]
    latencies = [r.latency_ms for r in requests if r.outcome == "ok"]
    return RequestSummary(
        count=len(requests),
        failed=len(requests) - len(latencies),
        p50_ms=quantile(latencies, 0.5),
        p99_ms=quantile(latencies, 0.99),
    )


def summarise_stream(log: ProbeLog, *, start: float, end: float) -> StreamSummary:
    """The packets from `start` to before `end`, all regions together; gaps are looked for region by region."""
    counts = [_count(stream, start, end) for stream in log.streams]
    round_trips = [t for c in counts for t in c.round_trips]
    gaps = [(b - a, a) for s in log.streams for a, b in silences(s) if a < end and b > start]
    send_gaps = [b - a for s in log.streams for (a, _), (b, _) in pairwise(s.packets) if a < end and b > start]
    longest = max(gaps, default=None)
    p50 = quantile(round_trips, 0.5)
    return StreamSummary(
        sent=sum(c.sent for c in counts),
        lost=sum(c.lost for c in counts),
        reordered=sum(c.reordered for c in counts),
        duplicated=sum(c.duplicated for c in counts),
        longest_gap_ms=None if longest is None else longest[0] * 1000,
        gap_start=None if longest is None else longest[1],
        longest_send_gap_ms=max(send_gaps) * 1000 if send_gaps else None,
        p50_ms=None if p50 is None else p50 * 1000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    sent: int
    lost: int
    reordered: int
    duplicated: int
    round_trips: tuple[float, ...]


def _count(stream: Stream, start: float, end: float) -> _Counts:
    first_echo: dict[int, float] = {}
    reordered = duplicated = 0
    highest = -1
    for t, sequence in stream.echoes:
        inside = start <= t < end
        if sequence in first_echo:
            duplicated += inside
            continue
        reordered += inside and sequence < highest
        first_echo[sequence] = t
        highest = max(highest, sequence)
    packets = [(t, sequence) for t, sequence in stream.packets if start <= t < end]
    silent = [t for t, sequence in packets if sequence not in first_echo]
    return _Counts(
        sent=len(packets),
        lost=sum(stream.observed_until - t >= PATIENCE_S for t in silent),
        reordered=reordered,
        duplicated=duplicated,
        round_trips=tuple(first_echo[sequence] - t for t, sequence in packets if sequence in first_echo),
    )


def _touches(message: Message, start: float, end: float) -> bool:
    return message.sent_at < end and message.until > start


def _survived(session: Session, start: float, end: float) -> bool:
    if session.reset_at is not None and session.reset_at < end:
        return False
    if any(m.lost for m in session.messages if m.sent_at < end and m.until >= start):
        return False
    return any(m.answered and m.until > start for m in session.messages)


def silences(stream: Stream) -> Sequence[tuple[float, float]]:
    """The times (from, to) between consecutive echoes, closed at both ends by the first and last packet sent."""
    if not stream.packets:
        return ()
    first, last = stream.packets[0][0], stream.packets[-1][0]
    marks = [first, *(t for t, _ in stream.echoes)]
    if last > marks[-1]:
        marks.append(last)
    return tuple(pairwise(marks))
