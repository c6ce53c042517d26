"""What the commands print: tables of a move and of a demo, and paths as a tree or in one line.

Everything is a rich renderable: colours are styles, never codes in the text, and every difference that a colour
shows is also said in characters, for output that is no terminal.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from entourage.report import values
from entourage.report.verdict import Verdict, crossings, of_act, of_demo, of_move

CROSSING = "⇄"
_TONES = {True: "bold green", False: "bold red", None: "bold"}


def move_table(document: Mapping[str, Any]) -> RenderableType:
    """A move report: the verdict, its members, what was predicted and measured, sessions, and what was left over."""
    members = _table("member", "role", "pause", "copied", numbers_from=2)
    for member in document.get("members") or ():
        _row(members, member["name"], member.get("role"), values.ms(member.get("pause_ms")),
             values.size(member.get("bytes")))  # fmt: skip
    figures = _table("", "predicted", "measured", numbers_from=1)
    predicted = document.get("predicted") or {}
    for name in ("blackout_ms", "split_ms", "pause_skew_ms", "resume_skew_ms", "total_s", "bytes"):
        planned = values.figure(name, predicted[name]) if name in predicted else ""
        _row(figures, values.label(name), planned, values.figure(name, document.get(name)))
    for name, value in (document.get("sessions") or {"sessions": None}).items():
        _row(figures, values.label(name), "", values.figure(name, value))
    for side in ("before", "after"):
        for region, measured in values.by_region(values.part(document, "requests", side)).items():
            _row(figures, f"request p50 {side}, {region}", "", values.ms(measured.get("p50_ms")))
    way = f"{document.get('strategy')} {values.way(document)}: {document.get('outcome')}"
    return Group(_verdict(of_move(document)), Text(way), members, figures, _left_over(document.get("left_over")))


def demo_table(document: Mapping[str, Any]) -> RenderableType:
    """A demo's report: the verdict, and a row for each act."""
    acts = document.get("acts") or []
    regions = [region["id"] for region in document["infrastructure"]["regions"]]
    head = ("act", "inter-site crossings", *(f"p50 {region}" for region in regions), "user traffic between sites")
    table = _table(*head, "blackout", "split", numbers_from=1)
    found: list[object] = []
    for number, act in enumerate(acts, 1):
        crossed = crossings(act.get("paths") or [])
        requests = values.by_region(act.get("requests"))
        move = act.get("move") or {}
        _row(
            table,
            f"{number} {act['title']}",
            _crossings(crossed),
            *(values.ms(values.part(requests, region, "p50_ms")) for region in regions),
            values.rate(values.part(act, "inter_site", "user_rate_bps")),
            values.ms(move.get("blackout_ms")) if move else "",
            values.ms(move.get("split_ms")) if move else "",
        )
        for one in [move, *(act.get("moves_back") or [])]:
            found += one.get("left_over") or []
    paths = [_act_paths(number, act) for number, act in enumerate(acts, 1)]
    return Group(_verdict(of_demo(document)), table, *paths, _left_over(found))


def path_text(path: Mapping[str, Any]) -> RenderableType:
    """One path hop by hop, to the server and back; a hop reached over the inter-site link is marked with ⇄."""
    crossed = int(path.get("inter_site_crossings") or 0)
    title = Text(f"{path['region']}: {path.get('ending')}, round trip {values.ms(path.get('rtt_ms'))}, ")
    title.append(values.plural(crossed, "inter-site crossing"), style=_TONES[crossed == 0])
    if crossed:
        title.append(f", +{values.ms(path.get('added_ms'))}")
    tree = Tree(title)
    branches = (("request", path.get("hops") or ()), ("answer", path.get("return_hops") or ()))
    for name, hops in branches:
        if hops:
            branch = tree.add(Text(name, style="bold"))
            for hop in hops:
                branch.add(_hop_line(hop))
    return tree


def path_strip(path: Mapping[str, Any]) -> Text:
    """One path in one line: "users-east → edge-east → rt → fw → lb ⇄ web1 ⇄ lb → …"."""
    strip = Text()
    for hop in [*(path.get("hops") or ()), *(path.get("return_hops") or ())]:
        if strip:
            over = hop.get("link") == "inter-site"
            strip.append(f" {CROSSING} " if over else " → ", style="bold red" if over else "dim")
        strip.append(str(hop["name"]), style="bold" if hop["kind"] in values.ROLES else "")
    return strip


def _hop_line(hop: Mapping[str, Any]) -> Text:
    over = hop.get("link") == "inter-site"
    style = "bold red" if over else ""
    where = hop.get("host") or hop.get("site") or ""
    line = Text(f"{CROSSING} " if over else "  ", style=style)
    line.append(f"{hop['name']} ({hop['kind']} at {where})" if where else f"{hop['name']} ({hop['kind']})", style=style)
    if hop.get("link"):
        line.append(f"  {hop['link']} {values.ms(hop.get('one_way_ms'))}", style=style or "dim")
    return line


def _act_paths(number: int, act: Mapping[str, Any]) -> RenderableType:
    head = Text(f"{number} {act['title']}: ", style="bold")
    verdict = of_act(act)
    head.append(verdict.text, style=_TONES[verdict.good])
    strips = [Text("  ").append_text(path_strip(path)) for path in act.get("paths") or ()]
    return Group(head, *strips)


def _verdict(verdict: Verdict) -> Text:
    return Text(verdict.text, style=_TONES[verdict.good])


def _left_over(found: Sequence[object] | None) -> Text:
    if found is None:
        return Text(f"left over: {values.NOT_MEASURED}")
    if not found:
        return Text("nothing left over", style="green")
    lines = "\n".join(f"  {one}" for one in found)
    return Text(f"WARNING: {values.plural(len(found), 'thing')} left over:\n{lines}", style="bold red")


def _crossings(found: int | None) -> Text:
    if found is None:
        return Text(values.NOT_MEASURED)
    return Text(f"{CROSSING} {found}" if found else "0", style=_TONES[found == 0])


def _table(*head: str, numbers_from: int) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(head):
        table.add_column(Text(name), justify="right" if index >= numbers_from else "left")
    return table


def _row(table: Table, *cells: object) -> None:
    """Add a row of plain text: names come from users' files, and rich would read markup in a string."""
    table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in cells))
