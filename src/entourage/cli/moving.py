"""`entourage move` and `entourage report`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from entourage.cli.commands import Move, Report
from entourage.cli.exits import Exit, need_root
from entourage.cli.looking import back_request, failed_target_policy, request_of, show_plan
from entourage.cli.output import files, show, show_error, show_json
from entourage.cli.recovery import recover_open
from entourage.cli.running import run
from entourage.cli.telling import telling
from entourage.lab.place import Place, open_place
from entourage.model.world import FailedTarget
from entourage.operations.failed_target import move_back
from entourage.operations.interruption import Interruption
from entourage.operations.measured import measured_move
from entourage.operations.moves import Admitted, RefusedError, admit
from entourage.operations.refusing import refused_by_rule
from entourage.operations.reports import load_report, move_kept, rewrite_page
from entourage.operations.users import Load
from entourage.planner import MoveRequest
from entourage.report import DEMO_SCHEMA, demo_table, move_table, path_strip
from entourage.report.values import count, ms
from entourage.wiring import wire


def move(wanted: Move) -> Exit:
    """Move, and show the report."""
    need_root("move")
    policy = failed_target_policy(wanted)
    place = open_place(wanted.lab)
    request = replace(back_request(wanted, place) if wanted.back else request_of(wanted, place), if_unverified=policy)
    moves_back = (policy or place.service.if_unverified) is FailedTarget.MOVE_BACK
    if not wanted.despite_rules and (refusal := run(lambda _: refused_by_rule(place, request))) is not None:
        raise RefusedError(refusal)
    if wanted.dry_run:
        return _dry_run(wanted, place, request)
    with telling(as_json=wanted.as_json) as tell:
        recovered = run(lambda _: recover_open(place, tell))
    for interrupted_move, result in recovered.items():
        show_error(f"{interrupted_move} was interrupted, and is {result['outcome']} now")
    load = Load(sessions=wanted.sessions) if wanted.sessions else None
    with telling(as_json=wanted.as_json) as tell:

        async def work(interruption: Interruption) -> tuple[dict[str, Any], bool]:
            wired = wire(place)
            try:
                document = await measured_move(
                    wired, request, load=load, out=wanted.out, tell=tell, interruption=interruption
                )
                if document.get("unverified") and moves_back and interruption.reason is None:
                    await move_back(wired, document, out=wanted.out, tell=tell)
            finally:
                await wired.close()
            return document, interruption.reason is not None

        document, interrupted = run(work, heard=lambda why: tell.note(f"{why}: what has not committed is put back"))
    if wanted.as_json:
        show_json(document)
    else:
        show(move_table(document), *_more(document), *files(move_kept(document["move"], wanted.out)))
    if document["outcome"] != "committed":
        return Exit.INTERRUPTED if interrupted else Exit.ROLLED_BACK
    if document.get("unverified") and not document.get("moved_back_by"):
        rest = f"entourage resume {document['move']}" if document.get("left_over") else "entourage move --back"
        show_error(f"the target does not serve; what can be done about it:\n  {rest} --lab {place.name}")
    return Exit.FAILED if document.get("problems") or document.get("left_over") else Exit.DONE


def _dry_run(wanted: Move, place: Place, request: MoveRequest) -> Exit:
    """Admit the move on the hosts as they are, and do nothing."""

    async def work(_: Interruption) -> Admitted:
        wired = wire(place, only_look=True)
        try:
            return await admit(wired, request)
        finally:
            await wired.close()

    show_plan(run(work).planned, as_json=wanted.as_json)
    return Exit.DONE


def report(wanted: Report) -> None:
    """Show a report again."""
    document, path = load_report(wanted.what, wanted.out)
    kept = rewrite_page(document, path)
    if wanted.as_json:
        show_json(document)
    elif wanted.open_path:
        show(kept.html.absolute().as_uri())
    elif document["schema"] == DEMO_SCHEMA:
        show(demo_table(document), *files(kept))
    else:
        show(move_table(document), *_more(document), *files(kept))


def _more(document: Mapping[str, Any]) -> list[RenderableType]:
    """What a move's table does not say: its paths, the packet stream, and what went wrong."""
    lines: list[RenderableType] = []
    for side in ("before", "after"):
        found = (document.get("path") or {}).get(side) or {}
        for region, path in (found.get("regions") or {}).items():
            lines.append(Text(f"{region} {side}", style="bold"))
            lines.append(Text("  ").append_text(path_strip(path)))
    stream = document.get("stream")
    if stream:
        gap = f"packet stream: longest gap {ms(stream.get('longest_gap_ms'))}"
        lines.append(f"{gap}, {count(stream.get('lost'))} of {count(stream.get('sent'))} packets lost")
    if document.get("reason"):
        lines.append(Text(f"reason: {document['reason']}", style="bold red"))
    return [*lines, *(Text(f"problem: {each}", style="bold red") for each in document.get("problems") or ())]
