"""Distributions of latency beside each other: how many packets took longer than so long, both axes logarithmic."""

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

from entourage.report import values
from entourage.report.markup import Markup, join, tag
from entourage.report.style import STYLE

WIDTH, LEFT, RIGHT, TOP, PLOT = 1200.0, 96.0, 420.0, 44.0, 330.0
_SHARES = ((0.5, "half"), (0.9, "10 %"), (0.99, "1 %"), (0.999, "0.1 %"), (0.9999, "0.01 %"))
_DEEPEST = 0.9999
_LABEL_APART = 28.0
_COLOURS = 4  # beyond them lines are dashed


class _Scales:
    """Milliseconds to x and the share of packets that took at most that long to y."""

    def __init__(self, latencies: Sequence[float]) -> None:
        self.first = int(log10(min(latencies)) // 1)
        self.last = max(int(-(-log10(max(latencies)) // 1)), self.first + 1)

    def x(self, ms: float) -> float:
        share = (log10(ms) - self.first) / (self.last - self.first)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def y(self, share: float) -> float:
        return TOP + PLOT * min(log10(1 / max(1 - share, 1e-12)) / log10(1 / (1 - _DEEPEST)), 1.0)


def latency_chart(cases: Sequence[Mapping[str, Any]], *, title: str, standalone: bool = False) -> Markup:
    """An SVG of `cases`: each with a `name` and `quantiles`, pairs of a share below 1 and milliseconds.

    A `standalone` one brings its own colours.
    """
    drawn = [(str(case["name"]), [(float(s), float(ms)) for s, ms in case["quantiles"] if ms]) for case in cases]
    drawn = [(name, points) for name, points in drawn if points]
    if not drawn:
        return tag("p", f"{title}: {values.NOT_MEASURED}.", class_="missing")
    scales = _Scales([ms for _, points in drawn for _, ms in points])
    said = "; ".join(f"{name}: {_spoken(points)}" for name, points in drawn)
    return tag(
        "svg",
        tag("style", Markup(STYLE)) if standalone else None,
        tag("title", title),
        tag("desc", said),
        _grid(scales),
        [_line(scales, name, points, number=number) for number, (name, points) in enumerate(drawn)],
        class_="chart", role="img", aria_label=f"{title}. {said}", xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:.0f} {TOP + PLOT + 60:.0f}",
    )  # fmt: skip


def _spoken(points: Sequence[tuple[float, float]]) -> str:
    return ", ".join(f"{values.ms(ms)} at {share:.2%}" for share, ms in points)


def _grid(scales: _Scales) -> Markup:
    parts = [tag("text", "packets that took longer than …", x=0, y=TOP - 20, class_="note")]
    for share, label in _SHARES:
        y = scales.y(share)
        parts.append(tag("line", x1=LEFT, y1=y, x2=WIDTH - RIGHT, y2=y, class_="axis"))
        parts.append(tag("text", label, x=LEFT - 12, y=y + 5, text_anchor="end", class_="note"))
    for decade in range(scales.first, scales.last + 1):
        x = scales.x(10.0**decade)
        parts.append(tag("line", x1=x, y1=TOP, x2=x, y2=TOP + PLOT, class_="axis"))
        text = values.ms(10.0**decade)
        parts.append(tag("text", text, x=x, y=TOP + PLOT + 24, text_anchor="middle", class_="note"))
    return join(*parts)


def _line(scales: _Scales, name: str, points: Sequence[tuple[float, float]], *, number: int) -> Markup:
    """One case, and what it is beside the plot."""
    path = "M" + " L".join(f"{scales.x(ms):.1f} {scales.y(share):.1f}" for share, ms in points)
    x, y = WIDTH - RIGHT + 24, TOP + 24 + number * _LABEL_APART
    dashes = None if number < _COLOURS else "7 5"
    return tag(
        "g",
        tag("path", d=path, class_="median", stroke_dasharray=dashes),
        tag("path", d=f"M{x:.0f} {y:.0f}H{x + 36:.0f}", class_="median", stroke_dasharray=dashes),
        tag("text", f"{name}: {values.ms(points[-1][1])}", x=x + 46, y=y + 5, class_="strong"),
        class_=f"line-{number % _COLOURS}",
    )
