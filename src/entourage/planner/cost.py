"""What a move costs the users' paths, and which segments must be stretched for it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, SiteId
from entourage.model.world import Snapshot
from entourage.paths import Path, spanning_segments, to_json, trace
from entourage.planner.scope import Scope

Stretched = Mapping[SegmentId, frozenset[SiteId]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentStretch:
    """A segment that must join `sites`: until the end of the move, or (`stays`) for as long as the service is split."""

    segment: SegmentId
    sites: frozenset[SiteId]
    stays: bool

    def to_json(self) -> dict[str, object]:
        """The stretch as it stands in plans."""
        return {"segment": self.segment, "sites": sorted(self.sites), "stays": self.stays}


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChange:
    """A region's worst path (over the members of every stage) before, after and, if members go singly, meanwhile."""

    region: RegionId
    before: Path
    after: Path
    worst_meanwhile: Path | None

    def to_json(self) -> dict[str, object]:
        """The change as it stands in plans."""
        return {
            "region": self.region,
            "before": to_json(self.before),
            "after": to_json(self.after),
            "worst_meanwhile": to_json(self.worst_meanwhile) if self.worst_meanwhile else None,
        }


def in_between(scope: Scope, placement: Mapping[MemberId, HostId], order: Sequence[MemberId]) -> list[Snapshot]:
    """The snapshots in which some of the members have moved, one more each, in the order in which they arrive."""
    return [scope.after({member: placement[member] for member in order[:count]}) for count in range(1, len(order))]


def stretches(after: Snapshot, meanwhile: Sequence[Snapshot]) -> tuple[SegmentStretch, ...]:
    """All segments that span sites during or after the move, in the service's order."""
    stay = spanning_segments(after)
    sites: dict[SegmentId, frozenset[SiteId]] = dict(stay)
    for snapshot in meanwhile:
        for segment, joined in spanning_segments(snapshot).items():
            sites[segment] = sites.get(segment, frozenset()) | joined
    return tuple(
        SegmentStretch(segment=segment.id, sites=sites[segment.id], stays=segment.id in stay)
        for segment in after.service.segments
        if segment.id in sites
    )


def path_changes(
    before: Snapshot, after: Snapshot, meanwhile: Sequence[Snapshot], *, stretched: Stretched
) -> tuple[PathChange, ...]:
    """For each region its worst path before (with `stretched` as it is), after and meanwhile (as it will be)."""
    changes = []
    for region in before.infrastructure.regions:
        between = [worst_path(snapshot, region.id, spanning_segments(snapshot)) for snapshot in meanwhile]
        changes.append(
            PathChange(
                region=region.id,
                before=worst_path(before, region.id, stretched),
                after=worst_path(after, region.id, spanning_segments(after)),
                worst_meanwhile=max(between, key=_badness, default=None),
            )
        )
    return tuple(changes)


def worst_path(snapshot: Snapshot, region: RegionId, stretched: Stretched) -> Path:
    """The slowest of the paths that requests from a region take, over each running member of every shared stage.

    One that is not delivered counts as slower than any that is.
    """
    shared = [m for stage in snapshot.service.chain if len(stage) > 1 for m in stage if m in snapshot.placement]
    paths = [trace(snapshot, region, stretched=stretched, via=member) for member in shared]
    return max(paths or [trace(snapshot, region, stretched=stretched)], key=_badness)


def _badness(path: Path) -> tuple[float, int]:
    rtt_ms = math.inf if path.rtt_ms is None else path.rtt_ms
    return rtt_ms, path.inter_site_crossings
