"""What to do about a service: leave it as it lies, or move all of it to one site or another; and why.

Compared by what its users have (the mean over regions of their worst round trip), then by what crosses the inter-site
link, then by what the change itself costs them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from entourage.model.ids import HostId, MemberId, RegionId, SiteId, site_of
from entourage.model.units import format_bytes, format_ms
from entourage.model.world import Snapshot
from entourage.planner.cost import Stretched, worst_path
from entourage.planner.plan import Plan, Refusal
from entourage.planner.planning import plan
from entourage.planner.request import HostLoad, MoveRequest
from entourage.ports.hypervisor import Capability

_SAME_MS = 1.0  # round trips that differ by less are the same to users
_SAME_SHARE = 0.05  # and so are bytes between sites


class Course(Enum):
    """What may be done."""

    LEAVE = "leave"  # as it lies, split or whole
    MOVE = "move"  # the whole group, to a site where none or some of it is
    BRING_BACK = "bring-back"  # what is away goes back to the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One course and what it comes to. `rtt_ms`: for each region its worst round trip, infinite if it gets no answer.

    `bytes_per_hour` between sites, None if nobody measured what the service carries. `members` move. `refused`: why it
    cannot be done, empty if it can. `predicted_s` is how long it takes, `blackout_ms` how long nobody is answered.
    """

    course: Course
    target: SiteId | None
    members: int
    rtt_ms: Mapping[RegionId, float]
    crossings: int
    bytes_per_hour: float | None
    copied: float = 0.0
    blackout_ms: float = 0.0
    predicted_s: float = 0.0
    refused: tuple[str, ...] = ()

    @property
    def mean_rtt_ms(self) -> float:
        """Over all regions."""
        return sum(self.rtt_ms.values()) / len(self.rtt_ms) if self.rtt_ms else 0.0

    @property
    def name(self) -> str:
        """In words."""
        return self.course.value if self.target is None else f"{self.course.value} to {self.target}"

    def to_json(self) -> dict[str, object]:
        """For `--json`; what is infinite is null."""
        return {
            "option": self.name,
            "target": self.target,
            "members": self.members,
            "rtt_ms": {region: None if math.isinf(rtt) else rtt for region, rtt in self.rtt_ms.items()},
            "inter_site_crossings": self.crossings,
            "inter_site_bytes_per_hour": self.bytes_per_hour,
            "copied_bytes": round(self.copied),
            "blackout_ms": self.blackout_ms,
            "predicted_s": self.predicted_s,
            "refused": list(self.refused),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """All options, the best first, and in sentences why it is the best."""

    options: tuple[Option, ...]
    why: tuple[str, ...]

    @property
    def best(self) -> Option:
        """What to do."""
        return self.options[0]


def advise(
    snapshot: Snapshot,
    *,
    loads: Mapping[HostId, HostLoad],
    capabilities: Mapping[MemberId, frozenset[Capability]],
    stretched: Stretched,
    in_use: Mapping[MemberId, int],
    carried: float | None = None,
) -> Advice:
    """Compare what may be done. `carried`: bytes/s that the service's users send and get, None if nobody measured."""
    sites = {site_of(host) for host in snapshot.placement.values()}
    options = [_leave(snapshot, stretched, carried)]
    for site in snapshot.infrastructure.sites:
        if sites != {site.id}:
            request = MoveRequest(service=snapshot.service.id, target=site.id)
            planned = plan(
                snapshot, request, loads=loads, capabilities=capabilities, stretched=stretched, resident=in_use
            )
            options.append(_moved(snapshot, site.id, planned, carried))
    ranked = sorted(options, key=_rank)
    best = min(options, key=_rank)
    # Nobody should be moved for what users do not notice.
    stay = options[0]
    if best is not stay and not _is_worth(best, stay):
        best = stay
    others = tuple(option for option in ranked if option is not best)
    return Advice(options=(best, *others), why=tuple(_reasons(best, others)))


def _leave(snapshot: Snapshot, stretched: Stretched, carried: float | None) -> Option:
    paths = [worst_path(snapshot, region.id, stretched) for region in snapshot.infrastructure.regions]
    crossings = [path.inter_site_crossings for path in paths]
    return Option(
        course=Course.LEAVE,
        target=None,
        members=0,
        rtt_ms={path.region: math.inf if path.rtt_ms is None else path.rtt_ms for path in paths},
        crossings=max(crossings, default=0),
        bytes_per_hour=_between_sites(carried, crossings),
    )


def _moved(snapshot: Snapshot, target: SiteId, planned: Plan | Refusal, carried: float | None) -> Option:
    there = sum(site_of(host) == target for host in snapshot.placement.values())
    course = Course.BRING_BACK if 2 * there > len(snapshot.service.members) else Course.MOVE
    if isinstance(planned, Refusal):
        reasons = [reason for verdict in planned.verdicts for reason in (verdict.reasons or (verdict.code.value,))]
        regions = [region.id for region in snapshot.infrastructure.regions]
        return Option(
            course=course,
            target=target,
            members=len(snapshot.service.members) - there,
            rtt_ms=dict.fromkeys(regions, math.inf),
            crossings=0,
            bytes_per_hour=None,
            refused=tuple(reasons),
        )
    crossings = [change.after.inter_site_crossings for change in planned.paths]
    return Option(
        course=course,
        target=target,
        members=len(planned.order),
        rtt_ms={
            change.region: math.inf if change.after.rtt_ms is None else change.after.rtt_ms for change in planned.paths
        },
        crossings=max(crossings, default=0),
        bytes_per_hour=_between_sites(carried, crossings),
        copied=planned.forecast.bytes,
        blackout_ms=planned.forecast.blackout_ms,
        predicted_s=planned.total_s,
    )


def _between_sites(carried: float | None, crossings: Sequence[int]) -> float | None:
    """Bytes in an hour: what is carried crosses once for each pair of crossings, there and back. All regions alike."""
    if carried is None or not crossings:
        return None
    return carried * 3600 * sum(crossings) / len(crossings) / 2


def _rank(option: Option) -> tuple[bool, float, float, float, str]:
    return (
        bool(option.refused),
        round(option.mean_rtt_ms / _SAME_MS) if math.isfinite(option.mean_rtt_ms) else math.inf,
        option.bytes_per_hour or 0.0,
        option.blackout_ms,
        option.name,
    )


def _is_worth(option: Option, stay: Option) -> bool:
    """Whether users or the inter-site link are better off by more than the noise."""
    if option.refused:
        return False
    if stay.mean_rtt_ms - option.mean_rtt_ms > _SAME_MS or math.isinf(stay.mean_rtt_ms):
        return True
    before, after = stay.bytes_per_hour or 0.0, option.bytes_per_hour or 0.0
    return before - after > _SAME_SHARE * before


def _reasons(best: Option, others: Sequence[Option]) -> list[str]:
    found = []
    for other in others:
        if other.refused:
            found.append(f"{other.name} cannot be done: {'; '.join(other.refused)}")
            continue
        less = other.mean_rtt_ms - best.mean_rtt_ms
        if math.isinf(other.mean_rtt_ms):
            found.append(f"with {other.name} requests of some region are not answered")
        elif less > _SAME_MS:
            found.append(f"with {other.name} users would wait {format_ms(less)} longer for an answer, on average")
        elif (other.bytes_per_hour or 0.0) > (best.bytes_per_hour or 0.0):
            more = (other.bytes_per_hour or 0.0) - (best.bytes_per_hour or 0.0)
            found.append(f"with {other.name} {format_bytes(more)} more would cross between the sites in an hour")
        else:
            gains = "nothing" if best.course is Course.LEAVE else "nothing more"
            found.append(f"{other.name} gains users {gains}, and costs a blackout of {format_ms(other.blackout_ms)}")
    return found
