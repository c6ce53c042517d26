"""The chart of a group switch: per member when it ran at the source, when nowhere, and when at the target."""

from collections.abc import Mapping, Sequence
from typing import Any

from entourage.report import values
from entourage.report.markup import Markup, join, tag

WIDTH, LEFT, RIGHT = 1200.0, 130.0, 150.0
TOP, ROW, BAR = 78.0, 40.0, 24.0


class _Scale:
    """Seconds since the epoch to x; the axis starts a little before the first pause and ends after the last resume."""

    def __init__(self, *, first: float, last: float) -> None:
        self.first = first
        span = max(last - first, 0.001)
        self.start, self.end = first - span * 0.12, last + span * 0.12

    def x(self, at: float) -> float:
        share = (at - self.start) / (self.end - self.start)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)


def switch_chart(move: Mapping[str, Any], *, name: str) -> Markup:
    """An SVG of the switch of a move report; in words if no pause was measured. `name` makes its ids unique."""
    members = [m for m in move.get("members") or () if m.get("paused_at") is not None]
    if not members:
        return tag("p", f"The pauses of the members: {values.NOT_MEASURED}.", class_="missing")
    ends = [m["resumed_at"] for m in members if m.get("resumed_at") is not None]
    first = min(m["paused_at"] for m in members)
    scale = _Scale(first=first, last=max([*ends, *(m["paused_at"] for m in members)]))
    bottom = TOP + ROW * len(members)
    return tag(
        "svg",
        tag("title", f"The switch of {move.get('move')}, member by member", id=f"{name}-title"),
        tag("desc", _describe(members), id=f"{name}-desc"),
        _split(members, scale, split_ms=move.get("split_ms"), bottom=bottom),
        _axis(scale, bottom=bottom),
        [_row(m, scale, y=TOP + ROW * n, move=move) for n, m in enumerate(members)],
        _marks(move.get("marks") or (), scale, bottom=bottom),
        _blackout(scale, first=first, last=max(ends), blackout_ms=move.get("blackout_ms"), y=bottom + 50)
        if ends else None,
        xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH:.0f} {bottom + 74:.0f}", class_="chart", role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )  # fmt: skip


def _describe(members: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(f"{m['name']} paused for {values.ms(m.get('pause_ms'))}." for m in members)


def _row(member: Mapping[str, Any], scale: _Scale, *, y: float, move: Mapping[str, Any]) -> Markup:
    paused, resumed = scale.x(member["paused_at"]), scale.x(member["resumed_at"] or scale.end)
    top = y + (ROW - BAR) / 2
    width = max(resumed - paused, 3.0)  # a pause that is short beside the axis is still seen
    bad = member.get("resumed_at") is None
    label = "never resumed" if bad else values.ms(member.get("pause_ms"))
    inside = width > 90
    return tag(
        "g",
        tag("title", f"{member['name']}: paused for {values.ms(member.get('pause_ms'))}"),
        tag("text", str(member["name"])[:14], x=LEFT - 14, y=y + ROW / 2 + 5, text_anchor="end", class_="strong"),
        tag("rect", x=LEFT, y=top, width=max(paused - LEFT, 0.0), height=BAR, class_="at-source"),
        tag("rect", x=paused, y=top, width=width, height=BAR, class_="paused"),
        tag("rect", x=paused + width, y=top, width=max(WIDTH - RIGHT - paused - width, 0.0), height=BAR,
            class_="at-target" if move.get("outcome") == "committed" else "at-source"),
        tag("text", label, x=paused + width / 2 if inside else paused + width + 6, y=y + ROW / 2 + 5,
            text_anchor="middle" if inside else "start", class_="on-bar" if inside else "beside-bar"),
    )  # fmt: skip


def _split(
    members: Sequence[Mapping[str, Any]], scale: _Scale, *, split_ms: float | None, bottom: float
) -> Markup | None:
    """The time in which some ran at the source while others ran at the target, as a shade over all rows."""
    resumed = [m["resumed_at"] for m in members if m.get("resumed_at") is not None]
    if not split_ms or not resumed:
        said = "split time " + ("0 ms: never at both sites" if split_ms == 0 else values.ms(split_ms))
        return tag("text", said, x=LEFT, y=24, class_="strong")
    start, end = scale.x(min(resumed)), scale.x(max(m["paused_at"] for m in members))
    return join(
        tag("rect", x=start, y=TOP - 30, width=max(end - start, 3.0), height=bottom - TOP + 30, class_="split"),
        tag("text", f"split for {values.ms(split_ms)}: running at both sites", x=(start + end) / 2, y=TOP - 36,
            text_anchor="middle", class_="alarm"),
    )  # fmt: skip


def ticks(*, span: float, most: int) -> list[float]:
    """At most `most` round steps from 0 that cover `span`."""
    step = next(s for s in _steps() if span / s <= most)
    return [n * step for n in range(int(span / step) + 1)]


def _steps() -> list[float]:
    return [factor * 10.0**power for power in range(-3, 9) for factor in (1, 2, 5)]


def _axis(scale: _Scale, *, bottom: float) -> Markup:
    in_seconds = scale.end - scale.first >= 3
    drawn = []
    for after in ticks(span=scale.end - scale.first, most=8):
        x = scale.x(scale.first + after)
        said = f"{after:g} s" if in_seconds else f"{after * 1000:g} ms"
        drawn += [
            tag("path", d=f"M{x:.1f} {TOP}V{bottom + 4}", class_="axis"),
            tag("text", said, x=x, y=bottom + 19, text_anchor="middle", class_="tick"),
        ]
    return join(drawn)


def _marks(marks: Sequence[Mapping[str, Any]], scale: _Scale, *, bottom: float) -> Markup:
    """Dashed lines at moments; labels that would cover each other go to the next of three heights."""
    drawn, taken = [], [-1e9] * 3
    for at, said in sorted((scale.first + mark["ms"] / 1000, str(mark["what"])) for mark in marks):
        if not scale.start <= at <= scale.end:
            continue
        x = scale.x(at)
        level = next((n for n, end in enumerate(taken) if x > end), 0)
        taken[level] = x + 12 + 8 * min(len(said), 28)
        drawn += [
            tag("path", d=f"M{x:.1f} {TOP - 8 - 18 * level}V{bottom}", class_="mark"),
            tag(
                "text",
                tag("title", said),
                said if len(said) <= 28 else said[:27] + "…",
                x=x + 4,
                y=TOP - 10 - 18 * level,
                class_="tick strong",
            ),
        ]
    return join(drawn)


def _blackout(scale: _Scale, *, first: float, last: float, blackout_ms: float | None, y: float) -> Markup:
    start, end = scale.x(first), scale.x(last)
    return join(
        tag("path", d=f"M{start:.1f} {y - 12}v12H{end:.1f}v-12", class_="span"),
        tag("text", f"blackout {values.ms(blackout_ms)}", x=(start + end) / 2, y=y + 18, text_anchor="middle",
            class_="strong"),
    )  # fmt: skip
