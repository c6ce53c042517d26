"""What becomes of a service that was moved and is not served where it runs now."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entourage.lab.errors import LabError
from entourage.model.ids import MemberId, SiteId
from entourage.operations.moves import RefusedError, run_move
from entourage.operations.reports import write_move
from entourage.operations.switching import Shown
from entourage.operations.tell import Tell
from entourage.planner import MoveRequest
from entourage.wiring import Wired


async def move_back(wired: Wired, document: dict[str, Any], *, out: Path, tell: Tell) -> str | None:
    """Move back what the report's move has moved: the id of the move that did it, which both reports name.

    None if that may not begin, which is told with the reasons. A move of its own, recovered like any other.
    """
    request = MoveRequest(
        service=wired.place.service.id, target=SiteId(document["source"]), members=_members(wired, document)
    )
    try:
        back = await run_move(wired, request, shown=Shown(progress=tell.progress, phase=tell.phase))
    except (LabError, RefusedError) as error:
        tell.note(f"{document['move']} is not moved back: {error}")
        return None
    write_move({**back, "moves_back": document["move"]}, out)
    document["moved_back_by"] = back["move"]
    document["problems"].append(_words(back, document))
    write_move(document, out)
    return str(back["move"])


def _members(wired: Wired, document: Mapping[str, Any]) -> frozenset[MemberId] | None:
    names = {MemberId(member["name"]) for member in document["members"]}
    return None if len(names) == len(wired.place.service.members) else frozenset(names)


def _words(back: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    if back["outcome"] == "committed":
        return f"so it was moved back to {document['source']}, by {back['move']}"
    return f"so it was to be moved back by {back['move']}, which was {back['outcome']}: {back['reason']}"
