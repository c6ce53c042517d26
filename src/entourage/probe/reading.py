"""Reads raw logs (`rawlog` has the records) into what `analysis` works on."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from entourage.probe.analysis import Ending, Message, ProbeLog, Request, Session, Stream
from entourage.probe.rawlog import FORMAT


class ProbeLogError(ValueError):
    """The file is no raw log of a probe; the message says where and why."""


def read_log(path: Path) -> ProbeLog:
    """Read one probe's raw log.

    A log whose last line is cut off, or that has no end, is read as far as it goes and carries a warning.
    Raises ProbeLogError ("path:line: …") for anything else that is not a probe's log, OSError if it cannot be read.
    """
    *whole, rest = path.read_bytes().split(b"\n")
    state = _State(path.name)
    for number, line in enumerate(whole, start=1):
        try:
            kind, t, *values = json.loads(line)
            if (number == 1) != (kind == "begin"):
                raise ValueError("a log has one beginning, in its first line")
            state.handlers[kind](t, *values)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise ProbeLogError(f"{path}:{number}: not a record of a probe's log: {error}") from None
    if not whole:
        raise ProbeLogError(f"{path}:1: empty: the probe wrote nothing, or was killed in its first second")
    if rest:
        state.warnings.append(f"{path.name}: the last line is cut off and was left out")
    return state.log()


class _State:
    """What has been read so far. The messages of a session are in the log in the order in which they happened."""

    def __init__(self, name: str) -> None:
        self.warnings: list[str] = []
        self.handlers: dict[str, Callable[..., None]] = {
            "begin": self._begin,
            "open": self._open,
            "send": self._send,
            "reply": self._reply,
            "stray": self._stray,
            "wrong": self._wrong,
            "reset": self._reset,
            "request": self._request,
            "packet": self._packet,
            "echo": self._echo,
            "step": self._step,
            "end": self._end,
        }
        self._name = name
        self._region = ""
        self._until = 0.0
        self._ended = False
        self._opened: dict[int, float] = {}
        self._resets: dict[int, float] = {}
        self._messages: dict[int, dict[int, tuple[float, float | None, Ending]]] = {}
        self._duplicates: dict[int, list[float]] = {}
        self._requests: list[Request] = []
        self._packets: list[tuple[float, int]] = []
        self._echoes: list[tuple[float, int]] = []

    def log(self) -> ProbeLog:
        warnings = list(self.warnings)
        if not self._ended:
            warnings.append(f"{self._name}: the probe did not end cleanly; its last second may be missing")
        stream = Stream(
            region=self._region,
            packets=tuple(self._packets),
            echoes=tuple(sorted(self._echoes)),
            observed_until=self._until,
        )
        return ProbeLog(
            sessions=tuple(self._session(number) for number in self._opened),
            requests=tuple(self._requests),
            streams=(stream,) if self._packets else (),
            warnings=tuple(warnings),
        )

    def _session(self, number: int) -> Session:
        return Session(
            region=self._region,
            number=number,
            opened_at=self._opened[number],
            reset_at=self._resets.get(number),
            messages=tuple(self._finished(number)),
            duplicates=tuple(self._duplicates[number]),
        )

    def _finished(self, session: int) -> Iterable[Message]:
        for n, (sent_at, until, ending) in self._messages[session].items():
            yield Message(
                number=n, sent_at=sent_at, until=max(sent_at, self._until if until is None else until), ending=ending
            )

    def _seen(self, t: float) -> None:
        self._until = max(self._until, t)

    def _begin(self, t: float, facts: dict[str, Any]) -> None:
        if facts.get("format") != FORMAT:
            raise ValueError(f"the format is {facts.get('format')!r}, and {FORMAT!r} is wanted")
        self._seen(t)
        self._region = str(facts["region"])

    def _open(self, t: float, session: int) -> None:
        self._opened[session] = t
        self._messages[session] = {}
        self._duplicates[session] = []

    def _send(self, t: float, session: int, n: int) -> None:
        self._seen(t)
        self._messages[session][n] = (t, None, Ending.OPEN)

    def _reply(self, t: float, session: int, n: int) -> None:
        self._settle(t, session, n, Ending.ANSWERED)

    def _stray(self, t: float, session: int, n: int) -> None:
        if self._messages[session][n][2] is Ending.WRONG:
            self._settle(t, session, n, Ending.LATE)
        else:
            self._duplicates[session].append(t)

    def _wrong(self, t: float, session: int, instead_of: int | None, _text: str) -> None:
        if instead_of is not None:
            self._settle(t, session, instead_of, Ending.WRONG)

    def _reset(self, t: float, session: int, _text: str) -> None:
        self._resets[session] = t
        for n, (_, _, ending) in self._messages[session].items():
            if ending is Ending.OPEN:
                self._settle(t, session, n, Ending.RESET)

    def _settle(self, t: float, session: int, n: int, ending: Ending) -> None:
        self._seen(t)
        self._messages[session][n] = (self._messages[session][n][0], t, ending)

    def _request(self, t: float, latency_ms: float, outcome: str) -> None:
        self._requests.append(Request(scheduled_at=t, latency_ms=latency_ms, outcome=outcome))

    def _packet(self, t: float, sequence: int) -> None:
        self._seen(t)
        self._packets.append((t, sequence))

    def _echo(self, t: float, sequence: int) -> None:
        self._seen(t)
        self._echoes.append((t, sequence))

    def _step(self, t: float, ms: float) -> None:
        self.warnings.append(f"{self._name}: the clock was set by {ms:.1f} ms at {t:.3f}: durations across it are off")

    def _end(self, t: float, _totals: dict[str, Any]) -> None:
        self._seen(t)
        self._ended = True
