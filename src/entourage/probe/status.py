"""The status line that a probe writes each second, for live displays."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What was seen up to `t` (seconds since the epoch).

    Counts are since the start; `p50_ms` (replies of sessions), `request_p50_ms` and `stream_gap_ms` (longest time
    without an echo) are of the last second, None where there was nothing to measure.
    """

    t: float
    open: int
    reset: int
    wrong: int
    stalled_now: int
    p50_ms: float | None
    requests: int
    requests_failed: int
    request_p50_ms: float | None
    packets: int
    echoes: int
    stream_gap_ms: float | None

    def to_json(self) -> dict[str, object]:
        """The JSON object of one status line."""
        return asdict(self)

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read a status line. Raises ValueError if it is none."""
        data = json.loads(line)
        names = {field.name for field in fields(cls)}
        if not isinstance(data, dict) or set(data) != names:
            raise ValueError(f"not a status line: {line[:80]!r}")
        return cls(**data)
