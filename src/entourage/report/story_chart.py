"""The chart of the whole story: every request's latency over time, acts shaded, failures and gaps marked."""

from collections.abc import Mapping, Sequence
from math import log10
from statistics import median
from typing import Any

from entourage.report import values
from entourage.report.markup import Markup, join, tag
from entourage.report.switch_chart import ticks

WIDTH, LEFT, RIGHT, TOP, PLOT = 1200.0, 66.0, 20.0, 44.0, 270.0
GAPS = 44.0  # the strip of stream gaps below the plot
BIN = 6.0  # samples this close on the x axis are drawn as their median and extremes


class _Scales:
    """Seconds since the start to x, and milliseconds to y (logarithmic)."""

    def __init__(self, *, end: float, low: float, high: float) -> None:
        self.end = max(end, 1.0)
        self.bottom, self.top = 10 ** _decade(low, up=False), 10 ** _decade(max(high, low * 1.01), up=True)

    def x(self, at: float) -> float:
        return LEFT + min(max(at / self.end, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def y(self, ms: float) -> float:
        share = log10(max(ms, self.bottom) / self.bottom) / log10(self.top / self.bottom)
        return TOP + PLOT * (1 - share)


def _decade(value: float, *, up: bool) -> float:
    """The next half decade: 1, 3.16, 10, …"""
    half = 2 * log10(value)
    return (-(-half // 1) if up else half // 1) / 2


def story_chart(timeline: Mapping[str, Any] | None, *, acts: Mapping[str, bool], regions: Sequence[str]) -> Markup:
    """An SVG of the samples of `schema.Timeline`; `acts` says by title, in order, which are trombones."""
    timeline = timeline or {}
    samples = [(float(at), str(region), ms) for at, region, ms in timeline.get("requests") or ()]
    measured = [float(ms) for _, _, ms in samples if ms is not None and ms > 0]
    if not measured:
        return tag("p", f"Requests over time: {values.NOT_MEASURED}.", class_="missing")
    gaps = [(float(at), float(ms)) for at, ms in timeline.get("stream_gaps") or ()]
    marks = [(float(at), str(label)) for at, label in timeline.get("marks") or ()]
    end = max([at for at, _, _ in samples] + [at + ms / 1000 for at, ms in gaps] + [at for at, _ in marks])
    scales = _Scales(end=end, low=min(measured), high=max(measured))
    order = list(dict.fromkeys([*regions, *(region for _, region, _ in samples)]))
    return tag(
        "svg",
        tag("title", "Latency of requests over the whole story", id="story-title"),
        tag("desc", _describe(samples, gaps), id="story-desc"),
        _acts(scales, marks, acts),
        _grid(scales),
        [_series(scales, [(at, ms) for at, region, ms in samples if region == one], colour=n)
         for n, one in enumerate(order)],
        _moments(scales, [mark for mark in marks if mark[1] not in acts]),
        _gaps(scales, gaps),
        xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH:.0f} {TOP + PLOT + GAPS + 34:.0f}", class_="chart",
        role="img", aria_labelledby="story-title story-desc",
    )  # fmt: skip


def _describe(samples: Sequence[tuple[float, str, Any]], gaps: Sequence[tuple[float, float]]) -> str:
    failed = sum(ms is None for _, _, ms in samples)
    longest = values.ms(max((ms for _, ms in gaps), default=None))
    return f"{len(samples):,} requests, {failed:,} failed. {len(gaps)} gaps in the stream, the longest: {longest}."


def _acts(scales: _Scales, marks: Sequence[tuple[float, str]], acts: Mapping[str, bool]) -> Markup:
    starts = sorted((at, label) for at, label in marks if label in acts)
    ends = [*starts[1:], (scales.end, "")]
    drawn = []
    for (at, label), (until, _) in zip(starts, ends, strict=True):
        x, width = scales.x(at), scales.x(until) - scales.x(at)
        room = max(int(width / 8) - 4, 3)
        title = f"{list(acts).index(label) + 1}  {label}"
        drawn += [
            tag("rect", x=x + 1, y=TOP - 32, width=max(width - 2, 1.0), height=PLOT + GAPS + 32, rx=6,
                class_="act-shade trombone" if acts[label] else "act-shade"),
            tag("text", title if len(title) <= room else title[:room] + "…", x=x + 10, y=TOP - 12, class_="act-name"),
        ]  # fmt: skip
    return join(drawn)


def _grid(scales: _Scales) -> Markup:
    drawn = []
    for decade in range(-2, 6):
        for factor in (1, 3):
            ms = factor * 10.0**decade
            if scales.bottom <= ms <= scales.top:
                y = scales.y(ms)
                drawn += [
                    tag("path", d=f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}", class_="axis"),
                    tag("text", f"{ms:g} ms", x=LEFT - 8, y=y + 4, text_anchor="end", class_="tick"),
                ]
    for at in ticks(span=scales.end, most=12):
        said = f"{at:g} s"
        drawn.append(tag("text", said, x=scales.x(at), y=TOP + PLOT + GAPS + 22, text_anchor="middle", class_="tick"))
    return join(drawn)


def _series(scales: _Scales, samples: Sequence[tuple[float, float | None]], *, colour: int) -> Markup:
    """One region: the median as a line, the extremes of each bin as dots, failures as crosses at the top."""
    bins: dict[int, list[float]] = {}
    failed: list[float] = []
    for at, ms in samples:
        if ms is None:
            failed.append(scales.x(at))
        else:
            bins.setdefault(int(scales.x(at) / BIN), []).append(ms)
    points = [((n + 0.5) * BIN, median(of)) for n, of in sorted(bins.items())]
    line = "".join(
        f"{'M' if index == 0 or x - points[index - 1][0] > 5 * BIN else 'L'}{x:.1f} {scales.y(ms):.1f}"
        for index, (x, ms) in enumerate(points)
    )
    dots = [((n + 0.5) * BIN, ms) for n, of in bins.items() for ms in {min(of), max(of)}]
    return tag(
        "g",
        [tag("circle", cx=x, cy=scales.y(ms), r=2, class_="dot") for x, ms in dots],
        tag("path", d=line, class_="median") if line else None,
        [tag("path", d=f"M{x - 5:.1f} {TOP + 3}l10 10m0-10-10 10", class_="failed") for x in failed],
        class_=f"line-{colour % 4}",
    )


def _moments(scales: _Scales, marks: Sequence[tuple[float, str]]) -> Markup:
    drawn, ends = [], [-1e9] * 3
    for at, label in sorted(marks):
        x = scales.x(at)
        level = next((n for n, end in enumerate(ends) if x > end), 0)
        ends[level] = x + 7.5 * len(label) + 10
        drawn += [
            tag("path", d=f"M{x:.1f} {TOP}V{TOP + PLOT}", class_="mark"),
            tag("text", label, x=x + 4, y=TOP + 14 + 15 * level, class_="tick"),
        ]
    return join(drawn)


def _gaps(scales: _Scales, gaps: Sequence[tuple[float, float]]) -> Markup:
    """Below the plot: where the stream had a gap, as a bar of its length (at least visible), the longest labelled."""
    y, drawn, free = TOP + PLOT + 12, [], -1e9
    for at, ms in sorted(gaps):
        x, width = scales.x(at), max(scales.x(at + ms / 1000) - scales.x(at), 2.5)
        drawn.append(tag("rect", x=x, y=y, width=width, height=14.0, class_="paused"))
        if x > free:
            drawn.append(tag("text", values.ms(ms), x=x, y=y + 27, class_="gap-label"))
            free = x + 62
    return join(tag("text", "gaps", x=LEFT - 8, y=y + 12, text_anchor="end", class_="tick"), drawn)
