"""The parts of a page: tables, panels and warnings, each from one piece of a document."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from entourage.report import values
from entourage.report.bars import Bar, bars
from entourage.report.markup import Markup, join, tag
from entourage.report.switch_chart import switch_chart
from entourage.report.verdict import Verdict, paths_of

Row = Sequence[object]

FIGURES = ("blackout_ms", "split_ms", "pause_skew_ms", "resume_skew_ms", "total_s", "bytes")


def pill(text: object, *, good: bool | None = None) -> Markup:
    """A short rounded label: green, red, or plain where it is neither good nor bad."""
    return tag("span", text, class_="pill" if good is None else "pill good" if good else "pill bad")


def verdict_pill(verdict: Verdict) -> Markup:
    """A verdict as a label."""
    return pill(verdict.text, good=verdict.good)


def table(head: Sequence[str], rows: Iterable[Row], *, numbers_from: int = 1) -> Markup:
    """A table; columns from `numbers_from` on are aligned as numbers."""

    def kind(column: int) -> str | None:
        return "n" if column >= numbers_from else None

    return tag(
        "table",
        tag("thead", tag("tr", [tag("th", name, class_=kind(n), scope="col") for n, name in enumerate(head)]))
        if any(head)
        else None,
        tag("tbody", [tag("tr", [tag("td", _cell(v), class_=kind(n)) for n, v in enumerate(row)]) for row in rows]),
    )


def _cell(value: object) -> object:
    return tag("span", value, class_="missing") if value == values.NOT_MEASURED else value


def panel(title: str, *content: object) -> Markup:
    """A titled part of a card."""
    return tag("div", tag("h3", title), *content)


def pairs(figures: Mapping[str, Any] | None) -> Markup:
    """Named figures as a table of two columns, each in the unit that its name says."""
    if not figures:
        return tag("p", values.NOT_MEASURED, class_="missing")
    return table(("", ""), [(values.label(name), values.figure(name, value)) for name, value in figures.items()])


def request_bars(
    columns: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]]], regions: Sequence[str], *, title: str
) -> Markup:
    """Request p50 per region, one bar for each of `columns` (a name and the requests by region)."""
    names = list(dict.fromkeys([*regions, *(name for _, measured in columns for name in measured)]))
    rows = [
        Bar(
            label=label, value=values.part(measured, region, "p50_ms"), group=region,
            text=f"{values.ms(values.part(measured, region, 'p50_ms'))}",
            style=f"line-{index % 4}{' before' if n < len(columns) - 1 else ''}",
        )
        for index, region in enumerate(names) if any(region in measured for _, measured in columns)
        for n, (label, measured) in enumerate(columns)
    ]  # fmt: skip
    return bars(rows, title=title) if rows else tag("p", values.NOT_MEASURED, class_="missing")


def link_bars(use: Mapping[str, Any] | None) -> Markup:
    """What crossed the inter-site link, as bars."""
    use = use or {}
    user, moved = use.get("user_bytes"), use.get("migration_bytes")
    rows = [
        Bar(label="user traffic", value=user, text=values.size(user), style="users-bytes"),
        Bar(label="migration", value=moved, text=values.size(moved), style="migration"),
    ]
    rate = tag("p", "user traffic ", tag("b", values.rate(use.get("user_rate_bps"))), class_="legend")
    return join(bars(rows, title="Bytes over the inter-site link"), rate)


def left_over(found: Sequence[object] | None) -> Markup:
    """What a move left behind: a quiet line if nothing, a loud warning otherwise."""
    if found is None:
        return tag("p", f"What was left over: {values.NOT_MEASURED}", class_="missing")
    if not found:
        return tag("p", "✓ Nothing left over.", class_="quiet")
    return tag(
        "div", f"⚠ Left over: {values.plural(len(found), 'thing')} that the move should have removed",
        tag("ul", [tag("li", one) for one in found]), class_="loud", role="alert",
    )  # fmt: skip


def move_section(move: Mapping[str, Any], *, name: str) -> Markup:
    """All figures of one move: the chart of its switch, its members, and what was predicted."""
    facts = [
        f"{move.get('strategy')}: {values.way(move)}",
        f"blackout {values.ms(move.get('blackout_ms'))}",
        f"split {values.ms(move.get('split_ms'))}",
        f"pause skew {values.ms(move.get('pause_skew_ms'))}",
        f"resume skew {values.ms(move.get('resume_skew_ms'))}",
    ]
    outcome = str(move.get("outcome") or values.NOT_MEASURED)
    return join(
        tag("div", pill(outcome, good=outcome == "committed"), [pill(fact) for fact in facts], class_="pills"),
        switch_chart(move, name=name),
        switch_legend(),
        tag(
            "div",
            panel("Members", members_table(move.get("members") or ())),
            panel("Predicted and measured", predicted_table(move)),
            panel("Sessions", pairs(move.get("sessions"))),
            panel("Ingress", pairs(move.get("ingress"))),
            class_="panels narrow",
        ),
        left_over(move.get("left_over")),
    )


def switch_legend() -> Markup:
    """What the colours of a switch chart mean."""
    names = (("at-source", "runs at the source"), ("paused", "paused"), ("at-target", "runs at the target"))
    return tag("p", [
        tag("span", tag("svg", tag("rect", width=44, height=14, class_=style), viewBox="0 0 44 14", class_="chart",
                        aria_hidden="true"), said)
        for style, said in names
    ], class_="legend swatches")  # fmt: skip


def members_table(members: Sequence[Mapping[str, Any]]) -> Markup:
    """Each member's role, pause and bytes."""
    rows = [(m["name"], m.get("role"), values.ms(m.get("pause_ms")), values.size(m.get("bytes"))) for m in members]
    return table(("member", "role", "pause", "copied"), rows, numbers_from=2)


def predicted_table(move: Mapping[str, Any]) -> Markup:
    """The plan's figures beside the measured ones; figures that only the plan has are listed too."""
    predicted = move.get("predicted") or {}
    names = [name for name in FIGURES if name in move or name in predicted]
    names += [name for name, value in predicted.items() if name not in names and not isinstance(value, list | dict)]
    rows = [
        (values.label(name), values.figure(name, predicted[name]) if name in predicted else "—",
         values.figure(name, move.get(name)))
        for name in names
    ]  # fmt: skip
    return table(("", "predicted", "measured"), rows)


def hops_table(path: Mapping[str, Any]) -> Markup:
    """One path hop by hop, there and back; crossings in the colour of alarm."""
    rows = []
    for way, hops in (("request", path.get("hops") or ()), ("answer", path.get("return_hops") or ())):
        rows += [
            tag("tr", *(tag("td", text) for text in (
                way, hop["name"], hop["kind"], hop.get("host") or hop.get("site") or "",
                ("⇄ " if hop.get("link") == "inter-site" else "") + (hop.get("link") or "start"),
                values.ms(hop.get("one_way_ms")) if hop.get("link") else "",
            )), class_="crossing" if hop.get("link") == "inter-site" else None)
            for hop in hops
        ]  # fmt: skip
    head = ("", "hop", "kind", "where", "reached by", "takes")
    return tag("table", tag("thead", tag("tr", [tag("th", name, scope="col") for name in head])), tag("tbody", rows))


def paths_details(paths: Sequence[Mapping[str, Any]]) -> Markup | None:
    """All paths hop by hop, folded away."""
    if not paths:
        return None
    return tag(
        "details",
        tag("summary", "Hop by hop"),
        tag("div", [
            panel(f"{path['region']}: {path.get('ending')}, round trip {values.ms(path.get('rtt_ms'))}",
                  hops_table(path)) for path in paths
        ], class_="panels"),
    )  # fmt: skip


def scene_of(move: Mapping[str, Any], side: str) -> tuple[dict[str, Any], dict[str, str], list[Mapping[str, Any]]]:
    """The infrastructure, placement and paths of one side of a move, as far as the paths of both sides show them."""
    paths = paths_of(values.part(move, "path", side))
    both = paths_of(values.part(move, "path", "before")) + paths_of(values.part(move, "path", "after"))
    hops = [hop for path in both for hop in [*path["hops"], *path["return_hops"]]]
    names = [str(move.get("source")), str(move.get("target")), *(hop["site"] for hop in hops if hop.get("site"))]
    sites: dict[str, list[str]] = {}
    for name in sorted(set(names)):  # by name, so that a move and the move back look alike
        hosts = {hop["host"].partition("/")[2] for hop in hops if hop.get("site") == name and hop.get("host")}
        sites[name] = sorted(hosts)
    regions = {path["region"]: path["hops"][0]["site"] for path in both if path["hops"]}
    # members that no path happens to pass are known from the move itself
    moved = "target" if side == "after" and move.get("outcome") == "committed" else "source"
    placement = {m["name"]: m[moved] for m in move.get("members") or () if m.get(moved)}
    placement |= {hop["name"]: hop["host"] for path in paths for hop in path["hops"] if hop.get("host")}
    infrastructure = {
        "sites": [{"id": site, "hosts": hosts} for site, hosts in sites.items()],
        "regions": [{"id": region, "near": near} for region, near in regions.items()],
        "links": [{"sites": [move.get("source"), move.get("target")], **(move.get("link") or {})}],
    }
    return infrastructure, placement, paths
