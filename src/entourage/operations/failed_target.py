"""What becomes of a service that was moved and is not served where it runs now."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from entourage.engine.groups import group_from_json
from entourage.engine.known import KnownMove
from entourage.lab.errors import LabError
from entourage.lab.place import Lab
from entourage.model.ids import HostId, MemberId
from entourage.model.world import FailedTarget
from entourage.operations.moves import RefusedError, run_move
from entourage.operations.recovering import all_moves
from entourage.operations.reports import write_move
from entourage.operations.switching import Shown
from entourage.operations.tell import Tell
from entourage.planner import MoveRequest, back_again
from entourage.wiring import Wired


async def move_back(wired: Wired, document: dict[str, Any], *, out: Path, tell: Tell) -> str | None:
    """Move back what the report's move has moved: the id of the move that did it, which both reports name.

    None if that may not begin, which is told with the reasons. A move of its own, recovered like any other.
    """
    sources, targets = (
        {MemberId(member["name"]): HostId(member[end]) for member in document["members"]}
        for end in ("source", "target")
    )
    back = await _moved_back(
        wired, document["move"], back_again(wired.place.service, sources=sources, targets=targets), tell
    )
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
    group = group_from_json(owed.document["group"])
    request = back_again(wired.place.service, sources=group.sources, targets=group.targets)
    back = await _moved_back(wired, owed.move, request, tell)
    return {} if back is None else {back["move"]: {name: back[name] for name in ("outcome", "reason", "problems")}}


async def _moved_back(wired: Wired, move: str, request: MoveRequest, tell: Tell) -> dict[str, Any] | None:
    where = ", ".join(sorted(request.onto or {request.target}))
    tell.note(f"{request.service} is not served at the target of {move}: it is moved back to {where}")
    request = replace(request, if_unverified=FailedTarget.STAY)  # to and fro for ever would help nobody
    try:
        return await run_move(wired, request, shown=Shown(progress=tell.progress, phase=tell.phase))
    except (LabError, RefusedError) as error:
        tell.note(f"{move} is not moved back: {error}")
        return None


def _words(back: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    if back["outcome"] == "committed":
        return f"so it was moved back to {document['source']}, by {back['move']}"
    return f"so it was to be moved back by {back['move']}, which was {back['outcome']}: {back['reason']}"
