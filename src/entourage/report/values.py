"""Figures as text. What nobody measured reads "not measured", never 0."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from entourage.model.units import format_bytes, format_ms, format_rate

NOT_MEASURED = "not measured"
ROLES = ("router", "firewall", "load-balancer", "server")


def ms(value: float | None) -> str:
    """A duration given in milliseconds: "0.4 ms", "251 ms", "6.1 s"."""
    if value is None:
        return NOT_MEASURED
    text = f"{value / 1000:.1f} s" if 2000 <= abs(value) < 10_000 else format_ms(value)
    return text.replace(".0 ms", " ms")


def seconds(value: float | None) -> str:
    """Seconds: "21.4 s"."""
    return NOT_MEASURED if value is None else f"{value:.1f} s"


def size(value: float | None) -> str:
    """Bytes: "91.3 MB"."""
    return NOT_MEASURED if value is None else format_bytes(value)


def rate(value: float | None) -> str:
    """Bits per second: "200 Mbit/s"."""
    return NOT_MEASURED if value is None else format_rate(value)


def count(value: float | None) -> str:
    """A count with separators of thousands: "1,000"."""
    return NOT_MEASURED if value is None else f"{value:,}"


def moment(value: object) -> str:
    """A moment, given in seconds since the epoch or as text already."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return NOT_MEASURED if value is None else str(value)


def plural(number: int, noun: str) -> str:
    """ "1 crossing", "2 crossings"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def way(move: Mapping[str, Any]) -> str:
    """Whence and whither a move went: "east → west", or within a site from hosts to hosts, "east/h1 → east/h2"."""
    ends = [str(move.get(end)) for end in ("source", "target")]
    if ends[0] == ends[1]:
        members = move.get("members") or ()
        hosts = [sorted({str(member[end]) for member in members if member.get(end)}) for end in ("source", "target")]
        ends = [", ".join(some) or end for some, end in zip(hosts, ends, strict=True)]
    return " → ".join(ends)


def part(document: Mapping[str, Any], *keys: str) -> Any:  # noqa: ANN401 (whatever the JSON holds)
    """The value at a place inside nested mappings; None if any step of the way is absent or null."""
    found: Any = document
    for key in keys:
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def figure(name: str, value: object) -> str:
    """`value` written in the unit that the end of its name says ("blackout_ms", "bytes", "total_s")."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    for ending, write in _WRITERS:
        if name == ending.strip("_") or name.endswith(ending):
            return write(value)
    return f"{value:,}"


_WRITERS = (
    ("_at", moment),
    ("_start", moment),
    ("_ms", ms),
    ("_bps", rate),
    ("_bytes", size),
    ("bytes", size),
    ("_s", seconds),
)


def label(name: str) -> str:
    """A field's name for people: "blackout" for "blackout_ms"."""
    for ending in ("_ms", "_bps", "_s"):
        name = name.removesuffix(ending)
    return name.replace("_", " ").replace("over 1s", "over 1 s")


def by_region(requests: object) -> dict[str, Mapping[str, Any]]:
    """Request figures for each region, from every shape: one set for all ("all regions"), one each, or both."""
    if not isinstance(requests, Mapping) or not requests:
        return {}
    regions = requests.get("regions")
    if isinstance(regions, Mapping):
        return by_region(regions)
    if any(isinstance(value, Mapping) for value in requests.values()):
        return {str(region): figures for region, figures in requests.items() if isinstance(figures, Mapping)}
    return {"all regions": requests}
