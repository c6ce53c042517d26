"""Quantities with units: read from text, kept as numbers in one base unit, written for people.

Base units: memory in bytes, rates in bit/s, durations in milliseconds, CPU in cores, shares 0..1.
Multiples follow IEC 80000-13: kB, MB, GB are powers of 1000; KiB, MiB, GiB powers of 1024.
"""

import re
from collections.abc import Mapping

_NUMBER = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*([A-Za-z%/µ]*)\s*")

MEMORY: Mapping[str, float] = {
    "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
RATE: Mapping[str, float] = {"bit/s": 1, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9}
BYTE_RATE: Mapping[str, float] = {"B/s": 1, "kB/s": 1e3, "MB/s": 1e6, "KiB/s": 2**10, "MiB/s": 2**20}
DURATION: Mapping[str, float] = {"us": 1e-3, "µs": 1e-3, "ms": 1, "s": 1e3, "min": 6e4}
LONG_DURATION: Mapping[str, float] = {"s": 1e3, "min": 6e4, "h": 3.6e6, "days": 8.64e7}
SHARE: Mapping[str, float] = {"%": 0.01}


class QuantityError(ValueError):
    """The text is not a quantity of the wanted kind; the message says what is wrong and `hint` what to write."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def parse_quantity(text: str, *, units: Mapping[str, float], example: str) -> float:
    """Read `text` ("200 Mbit/s") as a number in the base unit of `units`.

    Raises QuantityError if the number or the unit is missing, the unit is unknown, or the number is negative.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise QuantityError(f"{text!r} is not a quantity", hint=f"write a number and a unit, such as {example}")
    number, unit = match.groups()
    if not unit:
        raise QuantityError(f"{text.strip()!r} has no unit", hint=f"add one of {', '.join(units)}: {example}")
    if unit not in units:
        raise QuantityError(f"unknown unit {unit!r}", hint=f"use one of {', '.join(units)}: {example}")
    if number.startswith("-"):
        raise QuantityError(f"{text.strip()!r} is negative", hint=f"write a positive quantity, such as {example}")
    return float(number) * units[unit]


def format_bytes(count: float) -> str:
    """`count` bytes for people, in decimal multiples: "91.3 MB"."""
    return _scaled(count, ("B", "kB", "MB", "GB", "TB"))


def format_rate(bits_per_second: float) -> str:
    """A rate for people: "200 Mbit/s"."""
    return _scaled(bits_per_second, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"))


def format_ms(milliseconds: float) -> str:
    """A duration for people: "0.4 ms", "251 ms", "12.3 s"."""
    if abs(milliseconds) >= 10_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if abs(milliseconds) >= 100 else f"{milliseconds:.1f} ms"


def format_seconds(seconds: float) -> str:
    """A long duration for people, in the largest unit of which there are two: "45 s", "30 min", "36 h", "14 days"."""
    for name, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {name}"
    return f"{seconds:.3g} s"


def _scaled(value: float, names: tuple[str, ...]) -> str:
    index = 0
    while abs(value) >= 1000 and index < len(names) - 1:
        value, index = value / 1000, index + 1
    text = f"{value:.1f}".removesuffix(".0") if abs(value) < 100 else f"{value:.0f}"
    return f"{text} {names[index]}"
