"""A move with live users beside it: what they had before it, in it and after it is part of its report."""

import asyncio
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entourage.model.ids import RegionId
from entourage.operations.driving import driving, start_missing_guards
from entourage.operations.interruption import Interruption
from entourage.operations.moves import add_users, admit, run_admitted
from entourage.operations.reports import write_move
from entourage.operations.switching import Shown
from entourage.operations.tell import Tell
from entourage.operations.users import Load, Seen, Users
from entourage.planner import MoveRequest
from entourage.wiring import Wired

_BEFORE_S = 3.0  # for requests before the move
_AFTER_S = 4.0  # for requests after it, and at least one message of every session


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """From `start` to `end`, in seconds since the epoch."""

    start: float
    end: float


async def measured_move(
    wired: Wired,
    request: MoveRequest,
    *,
    load: Load | None,
    out: Path,
    tell: Tell,
    interruption: Interruption | None = None,
) -> dict[str, Any]:
    """Move while users of every region use the service, and return the report, which is kept in `<out>/moves` too.

    Without a `load` nobody uses it, and the report's `sessions` and `requests` are null. Raises what `run_move`
    raises, before any user begins if it can be known then, and ProbeError if the users' sessions cannot be opened.
    """
    interruption = interruption or Interruption()
    shown = Shown(progress=tell.progress, phase=tell.phase)

    async with driving(wired.place) as right:
        await start_missing_guards(wired, shown)
        admitted = await admit(wired, request)

        async def move() -> dict[str, Any]:
            document = await run_admitted(wired, admitted, right, shown=shown, interruption=interruption)
            write_move(document, out)  # whatever happens to the users, it is known what the move did
            return document

        if load is None:
            return await move()
        with tempfile.TemporaryDirectory(prefix="entourage-users-") as logs:
            tell.phase(f"opening {load.sessions} sessions")
            async with Users(wired.place, load, Path(logs)) as users:
                tell.phase(f"users before the move, {_BEFORE_S:g} s")
                start = time.time()
                await asyncio.sleep(_BEFORE_S)
                before = _Window(start=start, end=time.time())
                document = await move()
                after_s = max(_AFTER_S, load.message_interval_s)
                tell.phase(f"users after the move, {after_s:g} s")
                after = await _watch(users, after_s, interruption)
                seen = await asyncio.to_thread(users.read)
    _add_seen(document, seen, before=before, after=after)
    write_move(document, out)
    return document


async def _watch(users: Users, seconds: float, interruption: Interruption) -> _Window:
    """Let users go on; an interruption makes it shorter, and what they saw is kept all the same."""
    enough = asyncio.Event()
    with interruption.instead(lambda _: enough.set()):
        start = time.time()
        with suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), seconds)
        window = _Window(start=start, end=time.time())
        await users.wait_logged(window.end)
    return window


def _add_seen(document: dict[str, Any], seen: Seen, *, before: _Window, after: _Window) -> None:
    near = RegionId(document["path"]["after"]["region"])
    add_users(
        document,
        sessions=seen.sessions(start=before.start, end=after.end),
        requests={"before": _requests(seen, before, near=near), "after": _requests(seen, after, near=near)},
    )
    document["stream"] = seen.stream(start=before.start, end=after.end)


def _requests(seen: Seen, window: _Window, *, near: RegionId) -> dict[str, Any]:
    """The short requests in a window: the figures of the users `near` the target, for whom a move is made, and all."""
    regions = seen.requests(start=window.start, end=window.end)
    return {**regions[near], "region": near, "regions": regions}
