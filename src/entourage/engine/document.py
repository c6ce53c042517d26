"""A move's report: one JSON document (`schema: entourage.move-report/1`), the source of every figure shown."""

from collections.abc import Mapping
from typing import Any

from entourage.engine.mover import Mark
from entourage.model.ids import HostId, MemberId
from entourage.model.world import Service

SCHEMA = "entourage.move-report/1"


def switch_figures(
    service: Service,
    *,
    stopped: Mapping[MemberId, float],
    resumed: Mapping[MemberId, float],
    copied: Mapping[MemberId, int],
    sources: Mapping[MemberId, HostId],
    targets: Mapping[MemberId, HostId],
) -> dict[str, Any]:
    """The members' times and what follows from them. Times in seconds since the epoch, the rest as the names say.

    blackout: first member paused to last member running at the target. split: how long some members ran at the
    target while others still ran at the source. Skews: between the first and the last member. All are null where no
    member got so far.
    """
    members: list[dict[str, Any]] = [
        {
            "name": member.id,
            "role": member.role.value,
            "source": sources[member.id],
            "target": targets[member.id],
            "paused_at": stopped.get(member.id),
            "resumed_at": resumed.get(member.id),
            "pause_ms": _ms(stopped.get(member.id), resumed.get(member.id)),
            "bytes": copied.get(member.id),
        }
        for member in service.members
        if member.id in targets
    ]
    is_whole = bool(stopped) and set(stopped) == set(resumed) == set(targets)
    return {
        "members": members,
        "pause_skew_ms": _ms(min(stopped.values()), max(stopped.values())) if is_whole else None,
        "resume_skew_ms": _ms(min(resumed.values()), max(resumed.values())) if is_whole else None,
        "blackout_ms": _ms(min(stopped.values()), max(resumed.values())) if is_whole else None,
        "split_ms": max(0.0, _known_ms(min(resumed.values()), max(stopped.values()))) if is_whole else None,
        "bytes": sum(copied.values()),
    }


def mark_offsets(marks: list[Mark], *, zero: float) -> list[dict[str, Any]]:
    """The marks as milliseconds after `zero`."""
    return [{"ms": _known_ms(zero, mark.at), "what": mark.what} for mark in marks]


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else _known_ms(start, end)


def _known_ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
