"""Moves that are known, and those that somebody has to bring to their ends because whoever drove them is gone."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from entourage.drivers.records import MoveRecords, RecordsError, create_records, words_of
from entourage.engine.known import KnownMove, Recover
from entourage.lab.errors import LabError
from entourage.lab.place import Lab
from entourage.model.ids import ServiceId
from entourage.operations.driving import driving, is_being_driven, start_missing_guards
from entourage.operations.switching import Shown, Switch
from entourage.ports.right import Right
from entourage.wiring import Wired, wire

_ASK_AGAIN_S = 0.5
_DECIDED_AS = "decided_as"  # in a move's document: the move on whose decision it counts, if not its own


@contextmanager
def open_records(place: Lab) -> Iterator[MoveRecords]:
    """The lab's records of moves. LabError if they cannot be used; nothing was changed then."""
    try:
        records = MoveRecords(place.moves_url)
    except RecordsError as error:
        raise LabError(f"{error}; what runs where: entourage status --lab {place.name}") from error
    try:
        yield records
    finally:
        records.close()


def create_database(place: Lab) -> None:
    """The database of the lab's moves, in which none is open. LabError if there cannot be one."""
    from entourage.engine.durable import create_moves  # noqa: PLC0415 - slow to import

    try:
        create_records(place.moves_url)
        create_moves(place.moves_url)
    except (RecordsError, SQLAlchemyError) as error:
        raise LabError(f"no database for the moves of lab {place.name}: {words_of(error)}") from error
    require_none_open(place, so=f" in an earlier lab with this database; give lab {place.name} another one")


def recovering(wired: Wired, records: MoveRecords, right: Right, shown: Shown) -> Recover:
    """How this process brings a move to its end that another one has begun."""

    async def recover(move: str, document: Mapping[str, Any]) -> dict[str, Any]:
        switch = Switch(wired=wired, records=records, move=document.get(_DECIDED_AS, move), right=right, shown=shown)
        return (await switch.recover(document)).to_json()

    return recover


def all_moves(place: Lab) -> list[KnownMove]:
    """Every move of the lab, the latest first."""
    from entourage.engine.durable import known_moves  # noqa: PLC0415 - slow to import

    with open_records(place) as records:
        try:
            return known_moves(records.url)
        except SQLAlchemyError as error:
            raise LabError(f"the moves of lab {place.name} cannot be read: {words_of(error)}") from error


def open_moves(place: Lab) -> list[KnownMove]:
    """The moves that have not ended."""
    return [move for move in all_moves(place) if move.ended is None]


def require_none_open(place: Lab, *, so: str) -> None:
    """LabError if a move has not ended: to recover it later would undo or repeat what another has done meanwhile.

    `so`: how the sentence goes on that says that it did not end.
    """
    waiting = open_moves(place)
    if waiting:
        raise LabError(f"{', '.join(move.move for move in waiting)} did not end{so}")


def state_of(move: KnownMove, place: Lab) -> str:
    """In a word how it ended, or that it is under way, or interrupted."""
    if move.ended is not None:
        return str(move.ended["outcome"])
    return "under way" if is_being_driven(place) else "interrupted"


def find_move(place: Lab, move: str) -> KnownMove:
    """The move of that id. LabError if there is none."""
    known = all_moves(place)
    for each in known:
        if each.move == move:
            return each
    latest = f"the latest is {known[0].move}" if known else "none was begun yet"
    raise LabError(f"there is no move {move!r} in lab {place.name}; {latest}, all: entourage moves --lab {place.name}")


async def take_over(wired: Wired, shown: Shown) -> dict[str, dict[str, Any]]:
    """Bring every open move of the service to its end, and return their results by id.

    LabError if somebody else drives one.
    """
    place = wired.place
    async with driving(place) as right:  # nobody else drives a move here, whatever the database says of moves
        waiting = [move for move in open_moves(place) if move.document["service"] == place.service.id]
        if not waiting:
            return {}
        await start_missing_guards(wired, shown)
        from entourage.engine.durable import DurableMoves  # noqa: PLC0415 - slow to import

        shown.phase(f"recovering {', '.join(move.move for move in waiting)}")
        began = time.time()
        with open_records(place) as records:
            async with DurableMoves(records.url, recover=recovering(wired, records, right, shown)) as moves:
                results = await moves.take_over(waiting)
        await wired.guard.end()
        return {move: {**result, "recovery_s": round(time.time() - began, 3)} for move, result in results.items()}


async def take_over_all(lab: Lab, shown: Shown) -> dict[str, dict[str, Any]]:
    """As `take_over`, for every service of the lab."""
    results: dict[str, dict[str, Any]] = {}
    for service in sorted({ServiceId(move.document["service"]) for move in open_moves(lab)}):
        wired = wire(lab.place(service))
        try:
            results |= await take_over(wired, shown)
        finally:
            await wired.close()
    return results


async def finish(wired: Wired, shown: Shown, ended: KnownMove) -> dict[str, dict[str, Any]]:
    """Do again what a move that ended with problems has left, and return the result by the id that this is kept as.

    It is kept as a move of its own, which counts on the decision of the first: killed in between, it is recovered like
    any other. LabError if somebody else drives a move.
    """
    from entourage.engine.durable import DurableMoves  # noqa: PLC0415 - slow to import

    place, again = wired.place, f"{ended.move}-again"
    document = {**ended.document, _DECIDED_AS: ended.document.get(_DECIDED_AS, ended.move)}
    async with driving(place) as right:
        with open_records(place) as records:
            recover = recovering(wired, records, right, shown)
            async with DurableMoves(records.url, recover=recover) as moves:
                result = await moves.begin(again, document, lambda: recover(again, document))
        await wired.guard.end()
    return {again: dict(result)}


def find_unfinished(place: Lab, move: str) -> KnownMove:
    """The move of that id, which is open; or it is the latest, and ended with problems. LabError if it is neither."""
    found = find_move(place, move)
    if found.ended is None or not found.ended.get("problems"):
        return find_open(place, move)
    latest = next(each for each in all_moves(place) if each.document["service"] == found.document["service"])
    if latest.move != move:
        raise LabError(f"{move} has ended, and {latest.move} came after it: what it has left is not to be undone now")
    return found


def find_open(place: Lab, move: str) -> KnownMove:
    """The move of that id, which has not ended. LabError if there is none, or it has."""
    found = find_move(place, move)
    if found.ended is not None:
        raise LabError(f"{move} has ended: {found.ended['outcome']}; its report: entourage report {move}")
    return found


def way_of(move: KnownMove) -> str:
    """Whence and whither: "east to west", or within a site from hosts to hosts, "east/h1 to east/h2"."""
    group = move.document["group"]
    ends = [group["source_site"], group["target_site"]]
    if ends[0] == ends[1]:
        ends = [", ".join(sorted(set(group[end].values()))) for end in ("sources", "targets")]
    return " to ".join(ends)


def move_json(move: KnownMove, place: Lab) -> dict[str, Any]:
    """The move as a list of moves has it."""
    group = move.document["group"]
    return {
        "move": move.move,
        "service": move.document["service"],
        "strategy": move.document["strategy"],
        "members": group["order"],
        "source": group["source_site"],
        "target": group["target_site"],
        "sources": group["sources"],
        "targets": group["targets"],
        "began": move.began,
        "state": state_of(move, place),
        "reason": (move.ended or {}).get("reason"),
    }


async def ask_of(place: Lab, move: str, wish: str) -> Mapping[str, Any] | None:
    """Ask whoever drives the move for something, and wait for its end: its result, or None if nobody drives it."""
    with open_records(place) as records:
        records.wish(move, wish)
    while is_being_driven(place):
        if (ended := find_move(place, move).ended) is not None:
            return ended
        await asyncio.sleep(_ASK_AGAIN_S)  # another process: it has no way to call us
    return find_move(place, move).ended
