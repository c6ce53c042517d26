"""Looking at a service in a lab: which way its packets go and how long that takes, and what a move would do."""

import http.client
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from entourage.lab import names
from entourage.lab.place import Lab, Place
from entourage.lab.verify import round_trips_ms
from entourage.model.ids import RegionId
from entourage.operations.labs import look
from entourage.operations.moves import make_plan
from entourage.operations.observe import Observation, observe
from entourage.paths import Path, to_json, trace
from entourage.planner import MoveRequest, Plan, Refusal
from entourage.wiring import wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A region's path as everything says it is now, and the median round trip of some requests, if they arrived."""

    path: Path
    measured_ms: float | None
    problem: str | None  # why nothing could be measured

    def to_json(self) -> dict[str, Any]:
        """The path as it stands in reports, and what was measured."""
        return {**to_json(self.path), "measured_rtt_ms": self.measured_ms, "problem": self.problem}


async def trace_from(place: Place, regions: Sequence[RegionId]) -> list[Traced]:
    """The regions' paths now, each tried with a few requests."""
    seen = await look(place.name, service=place.service.id)
    # One region after another: they would share a link otherwise.
    return [await _traced(place, seen, region) for region in regions]


async def look_at_all(lab: Lab) -> list[Observation]:
    """What is of every service of the lab, in the order in which they were made."""
    found = []
    for kept in lab.services:
        wired = wire(lab.place(kept.id), only_look=True)
        try:
            found.append(await observe(wired))
        finally:
            await wired.close()
    return found


async def plan_move(place: Place, request: MoveRequest) -> Plan | Refusal:
    """What a move would do, as things are now."""
    wired = wire(place, only_look=True)
    try:
        return make_plan(wired, await observe(wired), request)
    finally:
        await wired.close()


async def _traced(place: Place, seen: Observation, region: RegionId) -> Traced:
    path = trace(seen.snapshot, region, stretched=seen.stretched)
    users = place.fabric.netns_path(names.users(region))
    try:
        measured = median(await round_trips_ms(users, place.service))
    except (OSError, http.client.HTTPException) as error:
        return Traced(path=path, measured_ms=None, problem=str(error) or type(error).__name__)
    return Traced(path=path, measured_ms=round(measured, 3), problem=None)
