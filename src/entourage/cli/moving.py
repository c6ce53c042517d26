"""`entourage move` and `entourage report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from entourage.cli import options
from entourage.cli.exits import Exit
from entourage.cli.looking import move_request
from entourage.cli.options import DEFAULT_LAB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from entourage.operations.interruption import Interruption
    from entourage.operations.reports import Kept

MOVE_EXAMPLES = options.epilog(
    "entourage move --to west",
    "entourage move shop --to west --only web1 --only web2 --strategy serial",
    "entourage move --to east --sessions 1000 --out reports --json",
) + ("\n\n\b\nCtrl-C before the commit puts everything back. The report is kept in DIR/moves/<move>.json and .html.")
REPORT_EXAMPLES = options.epilog(
    "entourage report shop-20260102-030405",
    "entourage report out/demo/report.json",
    "xdg-open $(entourage report shop-20260102-030405 --open-path)",
)
OUT = Path("out")


def move(
    to: options.To,
    service: options.Service = None,
    only: options.Only = None,
    strategy: options.Strategy = None,
    sessions: options.Sessions = 200,
    out: options.Out = OUT,
    lab: options.Lab = DEFAULT_LAB,
    as_json: options.Json = False,
) -> int:
    """Move a service to another site while users use it, and report what they had before, in and after it."""
    options.need_root("move")
    from entourage.cli.output import show, show_json
    from entourage.cli.running import run
    from entourage.cli.telling import telling
    from entourage.lab.place import open_place
    from entourage.operations.measured import measured_move
    from entourage.operations.reports import move_kept
    from entourage.operations.users import Load
    from entourage.wiring import wire

    place = open_place(lab)
    request = move_request(place, service, to=to, only=only, strategy=strategy)
    load = Load(sessions=sessions) if sessions else None
    why: list[str] = []
    with telling(as_json=as_json) as tell:

        async def work(interruption: Interruption) -> dict[str, Any]:
            wired = wire(place)
            try:
                return await measured_move(wired, request, load=load, out=out, tell=tell, interruption=interruption)
            finally:
                await wired.close()
                why.append(interruption.reason or "")

        document = run(work)
    if as_json:
        show_json(document)
    else:
        show(*_moved(document, move_kept(document["move"], out)))
    return _exit_of(document, interrupted=any(why))


def report(
    what: Annotated[str, typer.Argument(metavar="MOVE|FILE", help="A move's id, or a report's JSON file.")],
    out: options.Out = OUT,
    open_path: Annotated[bool, typer.Option("--open-path", help="Print only the page's address.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show a move's report (or a demo's) again, and make its page anew from the JSON."""
    from entourage.cli.output import show, show_json
    from entourage.operations.reports import load_report, rewrite_page
    from entourage.report import DEMO_SCHEMA, demo_table, move_table

    document, path = load_report(what, out)
    kept = rewrite_page(document, path)
    if as_json:
        show_json(document)
    elif open_path:
        show(kept.html.absolute().as_uri())
    elif document["schema"] == DEMO_SCHEMA:
        show(demo_table(document), *_files(kept))
    else:
        show(move_table(document), *_paths(document), *_files(kept))


def _moved(document: Mapping[str, Any], kept: Kept) -> list[RenderableType]:
    from rich.text import Text

    from entourage.report import move_table

    parts: list[RenderableType] = [move_table(document), *_paths(document)]
    if document.get("stream"):
        parts.append(_stream(document["stream"]))
    if document.get("reason"):
        parts.append(Text(f"reason: {document['reason']}", style="bold red"))
    parts += [Text(f"problem: {problem}", style="bold red") for problem in document.get("problems") or ()]
    return [*parts, *_files(kept)]


def _paths(document: Mapping[str, Any]) -> list[RenderableType]:
    from rich.text import Text

    from entourage.report import path_strip

    lines: list[RenderableType] = []
    for side in ("before", "after"):
        found = (document.get("path") or {}).get(side) or {}
        for region, path in (found.get("regions") or {}).items():
            lines.append(Text(f"{region} {side}:", style="bold"))
            lines.append(Text("  ").append_text(path_strip(path)))
    return lines


def _stream(stream: Mapping[str, Any]) -> RenderableType:
    from rich.text import Text

    from entourage.report.values import count, ms

    return Text(
        f"packet stream: longest gap {ms(stream.get('longest_gap_ms'))}, {count(stream.get('lost'))} of "
        f"{count(stream.get('sent'))} packets lost"
    )


def _files(kept: Kept) -> list[RenderableType]:
    from rich.text import Text

    return [Text(f"report: {kept.json}"), Text(f"page:   {kept.html.absolute().as_uri()}")]


def _exit_of(document: Mapping[str, Any], *, interrupted: bool) -> Exit:
    if document["outcome"] != "committed":
        return Exit.INTERRUPTED if interrupted else Exit.ROLLED_BACK
    return Exit.FAILED if document.get("problems") or document.get("left_over") else Exit.DONE
