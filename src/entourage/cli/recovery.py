"""`entourage moves`, `resume`, `recover`, `abort` and `commit`: moves that are known, and what is to become of them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from rich.text import Text

from entourage.cli.commands import Abort, Commit, Moves, Recover, Resume
from entourage.cli.exits import Exit, need_root
from entourage.cli.output import show, show_json, table
from entourage.cli.running import run
from entourage.cli.telling import telling
from entourage.engine.known import KnownMove
from entourage.lab.place import Lab, Place, open_lab
from entourage.operations.failed_target import find_owed, move_back_owed
from entourage.operations.recovering import (
    all_moves,
    ask_of,
    find_open,
    find_unfinished,
    finish,
    move_json,
    state_of,
    take_over_all,
    way_of,
)
from entourage.operations.switching import ABORT, COMMIT, Shown
from entourage.operations.tell import Tell
from entourage.wiring import Wired, wire

_STYLES = {"committed": "green", "under way": "cyan", "interrupted": "bold red", "unresolved": "bold red"}


def moves(wanted: Moves) -> None:
    """List them."""
    need_root("moves")
    place = open_lab(wanted.lab)
    known = all_moves(place)
    if wanted.as_json:
        show_json({"lab": place.name, "moves": [move_json(move, place) for move in known]})
        return
    rows = []
    for move in known:
        state = state_of(move, place)
        began = f"{datetime.fromtimestamp(move.began).astimezone():%Y-%m-%d %H:%M:%S}"
        rows.append(
            (move.move, way_of(move), move.document["strategy"], began, Text(state, style=_STYLES.get(state, "")))
        )
    show(table(("move", "way", "strategy", "began", "state"), rows) if rows else "no move was begun yet")
    interrupted = [move.move for move in known if state_of(move, place) == "interrupted"]
    if interrupted:
        show(Text(f"bring it to its end: entourage resume {interrupted[0]} --lab {place.name}", style="bold"))


def resume(wanted: Resume) -> Exit:
    """Bring one to its end that nobody drives, or do again what the last one has left."""
    need_root("resume")
    place = open_lab(wanted.lab)
    unfinished = find_unfinished(place, wanted.what)
    if unfinished.ended is None:
        return _recovered(place, as_json=wanted.as_json)
    with telling(as_json=wanted.as_json) as tell:
        results = run(lambda _: _finish(place, tell, unfinished))
    return _told(results, as_json=wanted.as_json, wanted=None)


def recover(wanted: Recover) -> Exit:
    """Bring all to their ends that nobody drives."""
    need_root("recover")
    return _recovered(open_lab(wanted.lab), as_json=wanted.as_json)


def abort(wanted: Abort) -> Exit:
    """Ask whoever drives it to put it back; if nobody does, recover it."""
    need_root("abort")
    return _asked(wanted, ABORT, outcome="rolled-back")


def commit(wanted: Commit) -> Exit:
    """Let a held move go on, and wait for its end."""
    need_root("commit")
    return _asked(wanted, COMMIT, outcome="committed")


async def recover_open(lab: Lab, tell: Tell) -> dict[str, dict[str, Any]]:
    """What an orchestrator that died has left open is brought to its end: the results by move."""
    results = await take_over_all(lab, Shown(progress=tell.progress, phase=tell.phase))
    if (owed := find_owed(lab)) is not None:
        async with _wired(lab.place(owed.document["service"])) as wired:
            results |= await move_back_owed(wired, owed, tell)
    return results


async def _finish(lab: Lab, tell: Tell, unfinished: KnownMove) -> dict[str, dict[str, Any]]:
    async with _wired(lab.place(unfinished.document["service"])) as wired:
        return await finish(wired, Shown(progress=tell.progress, phase=tell.phase), unfinished)


@asynccontextmanager
async def _wired(place: Place) -> AsyncIterator[Wired]:
    wired = wire(place)
    try:
        yield wired
    finally:
        await wired.close()


def _asked(wanted: Abort | Commit, wish: str, *, outcome: str) -> Exit:
    """Ask whoever drives the move, and tell how it ended; one that nobody drives is recovered."""
    place = open_lab(wanted.lab)
    find_open(place, wanted.what)
    result = run(lambda _: ask_of(place, wanted.what, wish))
    if result is None:
        return _recovered(place, as_json=wanted.as_json)
    return _told({wanted.what: result}, as_json=wanted.as_json, wanted=outcome)


def _recovered(place: Lab, *, as_json: bool) -> Exit:
    with telling(as_json=as_json) as tell:
        results = run(lambda _: recover_open(place, tell))
    return _told(results, as_json=as_json, wanted=None)


def _told(results: Mapping[str, Mapping[str, Any]], *, as_json: bool, wanted: str | None) -> Exit:
    """Tell how moves ended. FAILED if one is not resolved or has problems, or did not end as `wanted`."""
    if as_json:
        show_json({"moves": [{"move": move, **result} for move, result in results.items()]})
    elif not results:
        show("no move is open")
    for move, result in results.items() if not as_json else ():
        outcome = str(result["outcome"])
        show(Text.assemble(f"{move}: ", (outcome, _STYLES.get(outcome, "bold"))))
        for words in (result.get("reason"), *result.get("problems", ())):
            if words:
                show(Text(f"  {words}"))
    bad = any(result["outcome"] == "unresolved" or result.get("problems") for result in results.values())
    missed = wanted is not None and any(result["outcome"] != wanted for result in results.values())
    return Exit.FAILED if bad or missed else Exit.DONE
