"""Horizontal bars: a few labelled figures side by side, drawn to one scale."""

from collections.abc import Sequence
from dataclasses import dataclass

from entourage.report import values
from entourage.report.markup import Markup, join, tag

WIDTH, LABEL, ROW = 460.0, 128.0, 27.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar. `text` is the value as people read it; without a value it says that it was not measured."""

    label: str
    value: float | None
    text: str
    style: str  # classes of the stylesheet
    group: str = ""  # bars of one group stand together under its name


def bars(rows: Sequence[Bar], *, title: str) -> Markup:
    """An SVG of `rows`, the longest as wide as there is room."""
    most = max((row.value or 0.0 for row in rows), default=0.0) or 1.0
    drawn, y, group = [], 0.0, ""
    for row in rows:
        if row.group != group:
            group = row.group
            y += 23.0
            drawn.append(tag("text", group, x=0, y=y - 5, class_="strong"))
        drawn.append(_bar(row, y=y, most=most))
        y += ROW
    said = "; ".join(f"{row.group} {row.label}: {row.text}".strip() for row in rows)
    return tag(
        "svg", tag("title", title), tag("desc", said), join(drawn), class_="chart bars", role="img",
        aria_label=f"{title}. {said}", viewBox=f"0 0 {WIDTH:.0f} {max(y, ROW):.0f}",
        xmlns="http://www.w3.org/2000/svg",
    )  # fmt: skip


def _bar(row: Bar, *, y: float, most: float) -> Markup:
    room = WIDTH - LABEL - 96
    width = 0.0 if not row.value else max(room * row.value / most, 2.0)
    text = values.NOT_MEASURED if row.value is None else row.text
    return tag(
        "g",
        tag("text", row.label, x=0, y=y + 18, class_="note"),
        tag("rect", x=LABEL, y=y + 4, width=width, height=ROW - 8, rx=3, class_=f"bar {row.style}"),
        tag("text", text, x=LABEL + width + 8, y=y + 18, class_="note" if row.value is None else "strong"),
        class_=next((name for name in row.style.split() if name.startswith("line-")), None),
    )
