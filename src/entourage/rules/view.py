"""What rules decide from: one frozen view of all services, sites and hosts, the time included."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, ServiceId, SiteId
from entourage.model.world import Infrastructure, Service, Snapshot
from entourage.planner import HostLoad
from entourage.ports.hypervisor import Capability, RunState


class SiteState(Enum):
    """What the vantage points together say of a site."""

    UP = "up"
    UNREACHABLE = "unreachable"  # some do not hear it, or it may run its services still
    LOST = "lost"  # none hears it, and for so long that it has given up its right to run services


class HostState(Enum):
    """What is known of a host."""

    UP = "up"
    LOST = "lost"  # it does not answer, its site does
    MAINTENANCE = "maintenance"  # to be left, somebody said


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """One service as it was seen.

    `copies`: every copy and its state. `ingress`: where each region's packets enter. `put`: where Entourage itself put
    members last. `odd`: what makes it unfit to be judged, a sentence each: a host that says nonsense, for instance.
    `in_use`: bytes of memory that a copy has to carry. `is_moving`: a move of it is under way. `bytes_per_hour`:
    between sites, None if not measured. `replicas`: of members' disks, the moment (seconds since the epoch) of each.
    """

    service: Service
    copies: Mapping[tuple[MemberId, HostId], RunState]
    ingress: Mapping[RegionId, SiteId] = field(default_factory=dict)
    stretched: Mapping[SegmentId, frozenset[SiteId]] = field(default_factory=dict)
    put: Mapping[MemberId, HostId] = field(default_factory=dict)
    odd: tuple[str, ...] = ()
    in_use: Mapping[MemberId, int] = field(default_factory=dict)
    is_moving: bool = False
    bytes_per_hour: float | None = None
    licence_violations: tuple[str, ...] = ()
    free_licences: int | None = None
    broken_promises: tuple[str, ...] = ()
    replicas: Mapping[tuple[MemberId, HostId], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything at one moment: `taken_at` in seconds since the epoch, `elapsed` by a clock that never jumps.

    A site or host without an entry is up. `may_act`: for a site that is lost, those that may start its services;
    `why_not`: in sentences, why others may not.
    """

    taken_at: float
    elapsed: float
    infrastructure: Infrastructure
    services: Mapping[ServiceId, ServiceView]
    sites: Mapping[SiteId, SiteState] = field(default_factory=dict)
    may_act: Mapping[SiteId, frozenset[SiteId]] = field(default_factory=dict)
    why_not: Mapping[SiteId, tuple[str, ...]] = field(default_factory=dict)
    hosts: Mapping[HostId, HostState] = field(default_factory=dict)
    loads: Mapping[HostId, HostLoad] = field(default_factory=dict)
    capabilities: frozenset[Capability] = frozenset()

    def snapshot(self, service: ServiceId, placement: Mapping[MemberId, HostId]) -> Snapshot:
        """What planner and paths read of one service."""
        seen = self.services[service]
        return Snapshot(
            taken_at=self.taken_at,
            infrastructure=self.infrastructure,
            service=seen.service,
            placement=placement,
            ingress=seen.ingress,
        )
