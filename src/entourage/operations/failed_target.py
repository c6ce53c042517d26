"""What becomes of a service that was moved and is not served where it runs now."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from entourage.engine.known import KnownMove
from entourage.lab.errors import LabError
from entourage.lab.place import Lab
from entourage.model.ids import MemberId, SiteId
from entourage.model.world import FailedTarget
from entourage.operations.moves import RefusedError, run_move
from entourage.operations.recovering import all_moves
from entourage.operations.reports import write_move
from entourage.operations.switching import Shown
from entourage.operations.tell import Tell
from entourage.planner import MoveRequest
from entourage.wiring import Wired


async def move_back(wired: Wired, document: dict[str, Any], *, out: Path, tell: Tell) -> str | None:
    """Move back what the report's move has moved: the id of the move that did it, which both reports name.

    None if that may not begin, which is told with the reasons. A move of its own, recovered like any other.
    """
    members = (member["name"] for member in document["members"])
    back = await _moved_back(wired, document["move"], document["source"], members, tell)
    if back is None:
        return None
    write_move({**back, "moves_back": document["move"]}, out)
    document["moved_back_by"] = back["move"]
    document["problems"].append(_words(back, document))
    write_move(document, out)
    return str(back["move"])


def find_owed(place: Lab) -> KnownMove | None:
    """The last move, if it ended at a target that does not serve, and whoever drove it owes its move back.

    None if the lab does not have its service any more.
    """
    last = next(iter(all_moves(place)), None)
    if last is None or last.document.get("if_unverified") != FailedTarget.MOVE_BACK.value:
        return None
    if not any(kept.id == last.document["service"] and kept.created <= last.began for kept in place.services):
        return None
    return last if (last.ended or {}).get("unverified") else None


async def move_back_owed(wired: Wired, owed: KnownMove, tell: Tell) -> dict[str, dict[str, Any]]:
    """Do what the orchestrator of `owed` would have done if it had lived: the outcome by the move's id.

    Nothing if the target serves by now.
    """
    if not await wired.drivers.verifier.problems(wired.place.service):
        return {}
    group = owed.document["group"]
    back = await _moved_back(wired, owed.move, group["source_site"], group["order"], tell)
    return {} if back is None else {back["move"]: {name: back[name] for name in ("outcome", "reason", "problems")}}


async def _moved_back(
    wired: Wired, move: str, source: str, members: Iterable[str], tell: Tell
) -> dict[str, Any] | None:
    service, moved = wired.place.service, frozenset(MemberId(member) for member in members)
    tell.note(f"{service.id} is not served at the target of {move}: it is moved back to {source}")
    request = MoveRequest(
        service=service.id,
        target=SiteId(source),
        members=None if len(moved) == len(service.members) else moved,
        if_unverified=FailedTarget.STAY,  # to and fro for ever would help nobody
    )
    try:
        return await run_move(wired, request, shown=Shown(progress=tell.progress, phase=tell.phase))
    except (LabError, RefusedError) as error:
        tell.note(f"{move} is not moved back: {error}")
        return None


def _words(back: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    if back["outcome"] == "committed":
        return f"so it was moved back to {document['source']}, by {back['move']}"
    return f"so it was to be moved back by {back['move']}, which was {back['outcome']}: {back['reason']}"
