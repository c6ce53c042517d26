"""What exists: sites, hosts, links and the users' regions; services, their segments and members.

Lengths and rates are in the base units of `units`: bytes, bit/s, milliseconds, cores.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol, TypeVar

from entourage.model.ids import HostId, MemberId, ProductId, RegionId, SegmentId, ServiceId, SiteId, site_of
from entourage.model.licences import Holdings, Licences
from entourage.model.realtime import Promise, RealtimeCpus

# Between two hosts of a site of which the spec does not say it: what a switched network of 1 Gbit/s does. Only
# predictions and the pace of refreshes come from it.
LOCAL_RTT_MS, LOCAL_RATE = 0.2, 1e9


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


_T = TypeVar("_T", bound=_Identified)


def _find(items: Iterable[_T], wanted: str) -> _T:
    for item in items:
        if item.id == wanted:
            return item
    raise KeyError(wanted)


class Role(Enum):
    """What a member does for its service. Every role but `server` is part of the entourage."""

    SERVER = "server"  # answers the users' requests
    LOAD_BALANCER = "load-balancer"  # ends client sessions and opens its own to the servers
    FIREWALL = "firewall"  # forwards what its rules and its connection table allow
    ROUTER = "router"  # the service's first hop behind the site's edge; routes or translates addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One hypervisor machine at a site. `memory` in bytes and `cpu` in cores are what members may use.

    `realtime`: what it can promise; None if nothing.
    """

    id: HostId
    memory: int
    cpu: float
    realtime: RealtimeCpus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A data centre: its hosts and an edge router that speaks BGP with the provider.

    Of the network between its hosts: `rtt` in ms there and back, `rate` in bit/s each way.
    """

    id: SiteId
    hosts: tuple[Host, ...]
    rtt: float = LOCAL_RTT_MS
    rate: float = LOCAL_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class InterSiteLink:
    """The link between two sites. `rtt` in ms there and back, `rate` in bit/s each way, `loss` 0..1 each way."""

    sites: tuple[SiteId, SiteId]
    rtt: float
    rate: float
    loss: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Users near a site: `rtt` in ms from them to that site's edge and back."""

    id: RegionId
    near: SiteId
    rtt: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Infrastructure:
    """All that services run on. `licences`: what was bought for appliances; None where nobody counts."""

    sites: tuple[Site, ...]
    links: tuple[InterSiteLink, ...]
    regions: tuple[Region, ...]
    licences: Licences | None = None

    def site(self, site: SiteId) -> Site:
        """The site of that id; KeyError if there is none."""
        return _find(self.sites, site)

    def host(self, host: HostId) -> Host:
        """The host of that id ("east/h1"); KeyError if there is none."""
        return _find([h for s in self.sites for h in s.hosts], host)

    def region(self, region: RegionId) -> Region:
        """The region of that id; KeyError if there is none."""
        return _find(self.regions, region)

    def link(self, one: SiteId, other: SiteId) -> InterSiteLink:
        """The link that joins two sites, in whichever order; KeyError if there is none."""
        for link in self.links:
            if set(link.sites) == {one, other}:
                return link
        raise KeyError(f"no link between {one} and {other}")

    def copied_over(self, source: SiteId, target: SiteId) -> InterSiteLink:
        """What a copy passes: the link between two sites; within one its own network, as one from the site to itself.

        KeyError if nothing joins them.
        """
        if source == target:
            site = self.site(source)
            return InterSiteLink(sites=(source, target), rtt=site.rtt, rate=site.rate)
        return self.link(source, target)

    def beside(self, host: HostId) -> frozenset[HostId]:
        """The other hosts of the host's site; KeyError if there is no such site."""
        return frozenset(other.id for other in self.site(site_of(host)).hosts if other.id != host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A layer-2 network of a service, present at every site. `gateway` exists only where the edge is attached."""

    id: SegmentId
    subnet: IPv4Network
    gateway: IPv4Address | None = None  # the edge's address here: same at every site, and the same MAC


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A member's port on a segment. `mac` is lower case, six octets, colons."""

    segment: SegmentId
    address: IPv4Address
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One virtual machine of a service. `memory` in bytes, `cpu` in cores, `dirty_rate` in bytes/s expected.

    `disk`: bytes of the writable disk that is its own, 0 for none. `realtime`: the CPU time that it is promised.
    `licence`: the product of which each copy of it needs a seat.
    """

    id: MemberId
    role: Role
    memory: int
    cpu: float
    interfaces: tuple[Interface, ...]
    dirty_rate: float = 0.0
    disk: int = 0
    realtime: Promise | None = None
    licence: ProductId | None = None

    def on(self, segment: SegmentId) -> Interface:
        """The member's interface on `segment`; KeyError if it has none."""
        for interface in self.interfaces:
            if interface.segment == segment:
                return interface
        raise KeyError(f"{self.id} has no interface on {segment}")


class FailedTarget(Enum):
    """What becomes of a service that was moved whole and is not served at its target."""

    STAY = "stay"  # and the move says so
    MOVE_BACK = "move-back"  # by itself, whoever has to finish the move


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What users know (`address`, inside the announced `prefix`) and the group behind it.

    `chain` is the order in which packets pass the members; a stage of several members shares the load.
    `latency_p999_s`: the most that the appliances may add to a request and its answer, in seconds, if it is promised.
    `rpo_s`: how old, in seconds, the copies of its disks at another site may be; None: there are none. They are kept at
    `replica_at`, where that is another site than the one where the member runs; else at the nearest other one.
    """

    id: ServiceId
    prefix: IPv4Network
    address: IPv4Address
    segments: tuple[Segment, ...]
    members: tuple[Member, ...]
    chain: tuple[tuple[MemberId, ...], ...]
    home: SiteId
    if_unverified: FailedTarget = FailedTarget.STAY
    latency_p999_s: float | None = None
    rpo_s: float | None = None
    replica_at: SiteId | None = None

    def replicated(self) -> tuple[Member, ...]:
        """The members whose disks are to be replicated."""
        return tuple(m for m in self.members if m.disk and self.rpo_s is not None)

    def member(self, member: MemberId) -> Member:
        """The member of that id; KeyError if there is none."""
        return _find(self.members, member)

    def segment(self, segment: SegmentId) -> Segment:
        """The segment of that id; KeyError if there is none."""
        return _find(self.segments, segment)

    def ingress_segment(self) -> Segment:
        """The segment on which the site's edge is attached: the one with a gateway."""
        return next(s for s in self.segments if s.gateway is not None)

    def appliance_stages(self) -> tuple[tuple[MemberId, ...], ...]:
        """The stages of the chain without its servers."""
        servers = {server.id for server in self.of_role(Role.SERVER)}
        stages = (tuple(member for member in stage if member not in servers) for stage in self.chain)
        return tuple(stage for stage in stages if stage)

    def of_role(self, role: Role) -> tuple[Member, ...]:
        """The members of one role, in the order of the file."""
        return tuple(m for m in self.members if m.role is role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is, at one moment: the infrastructure, one service, where its members run and where packets enter.

    `placement` has every member that runs; `ingress` says for each region at which site its packets for the
    service's prefix enter now (a region without a route is absent). `holdings`: who holds licences, or may soon.
    """

    taken_at: float  # seconds since the epoch
    infrastructure: Infrastructure
    service: Service
    placement: Mapping[MemberId, HostId]
    ingress: Mapping[RegionId, SiteId]
    holdings: Holdings = field(default_factory=Holdings)
