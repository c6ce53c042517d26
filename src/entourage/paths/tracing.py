"""Tracing a request from its users through the chain and back; `docs/design/0002-paths.md` has the rules."""

from collections.abc import Mapping
from dataclasses import replace

from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, SiteId, site_of
from entourage.model.world import Infrastructure, Member, Region, Snapshot
from entourage.paths.path import Ending, Hop, HopKind, HopLink, Path

Stretched = Mapping[SegmentId, frozenset[SiteId]]  # for each stretched segment the sites that it joins


class _EndedError(Exception):
    """The request goes no further: how it ended, and what is missing."""

    def __init__(self, ending: Ending, detail: str) -> None:
        super().__init__(detail)
        self.ending = ending


def trace(
    snapshot: Snapshot, region: RegionId, *, stretched: Stretched | None = None, via: MemberId | None = None
) -> Path:
    """The path of a request from `region` to the service, and of its reply, as things are in `snapshot`.

    `stretched` says which segments join which sites (by default none does). `via` chooses the member of its
    stage; in every other stage of several members the first that runs is taken. Where the edge at the ingress
    site is not beside the router, the tunnel for late packets is taken to be there.
    Raises KeyError if the region is unknown or the chain has no `via`.
    """
    users = snapshot.infrastructure.region(region)
    if via is not None and not any(via in stage for stage in snapshot.service.chain):
        raise KeyError(f"the chain of {snapshot.service.id} has no member {via}")
    walk = _Walk(snapshot, users, stretched or {})
    try:
        direct_ms = walk.to_ingress_edge()
        walk.through_chain(via)
        walk.back_to_users()
    except _EndedError as end:
        return Path(region=region, ending=end.ending, hops=tuple(walk.hops), detail=str(end))
    return Path(
        region=region,
        ending=Ending.DELIVERED,
        hops=tuple(walk.hops),
        return_hops=tuple(walk.return_hops),
        direct_ms=direct_ms,
    )


def after_move(
    snapshot: Snapshot, *, placement: Mapping[MemberId, HostId], ingress: Mapping[RegionId, SiteId]
) -> Snapshot:
    """What `snapshot` would be with these members on these hosts and these regions entering at these sites.

    Raises KeyError if a member, host, region or site is unknown.
    """
    for member, host in placement.items():
        snapshot.service.member(member)
        snapshot.infrastructure.host(host)
    for region, site in ingress.items():
        snapshot.infrastructure.region(region)
        snapshot.infrastructure.site(site)
    return replace(
        snapshot,
        placement={**snapshot.placement, **placement},
        ingress={**snapshot.ingress, **ingress},
    )


def spanning_segments(snapshot: Snapshot) -> dict[SegmentId, frozenset[SiteId]]:
    """The segments whose running members are at more than one site, so that they must be stretched over these.

    The ingress segment is never among them: its gateway has the same address at every site.
    """
    spanning = {}
    for segment in snapshot.service.segments:
        if segment.gateway is not None:
            continue
        sites = frozenset(
            site_of(snapshot.placement[member.id])
            for member in snapshot.service.members
            if member.id in snapshot.placement and any(port.segment == segment.id for port in member.interfaces)
        )
        if len(sites) > 1:
            spanning[segment.id] = sites
    return spanning


class _Walk:
    """One request under way: what it has passed so far is in `hops` and `return_hops`."""

    def __init__(self, snapshot: Snapshot, users: Region, stretched: Stretched) -> None:
        self._infrastructure = snapshot.infrastructure
        self._service = snapshot.service
        self._placement = snapshot.placement
        self._ingress = snapshot.ingress
        self._stretched = stretched
        self._users = users
        self.hops: list[Hop] = [Hop(name=users.id, kind=HopKind.USERS, site=users.near)]
        self.return_hops: list[Hop] = []

    def to_ingress_edge(self) -> float:
        """From the users to the edge at which their packets enter; returns the direct round trip in ms."""
        entry = self._ingress.get(self._users.id)
        if entry is None:
            raise _EndedError(Ending.NO_ROUTE, f"{self._users.id} has no route to {self._service.prefix}")
        near = self._users.near
        access_ms = self._users.rtt / 2
        self.hops.append(_provider(near, link=HopLink.ACCESS, one_way_ms=access_ms))
        backbone_ms = 0.0
        if entry != near:
            backbone_ms = _one_way_ms(self._infrastructure, near, entry)
            self.hops.append(_provider(entry, link=HopLink.BACKBONE, one_way_ms=backbone_ms))
        self.hops.append(_edge(entry, link=HopLink.PROVIDER))
        return 2 * (access_ms + backbone_ms)

    def through_chain(self, via: MemberId | None) -> None:
        """From the edge through one member of each stage, and back to the first of them."""
        passed: list[Member] = []
        for stage in self._service.chain:
            member = self._choose(stage, via)
            site = site_of(self._placement[member.id])
            if passed:
                self._require_segment(passed[-1], member)
            elif site != self.hops[-1].site:  # the edge sends late packets on through its tunnel
                crossing_ms = _one_way_ms(self._infrastructure, self.hops[-1].site, site)
                self.hops.append(_edge(site, link=HopLink.INTER_SITE, one_way_ms=crossing_ms))
            self.hops.append(self._member_hop(member, previous=self.hops[-1]))
            passed.append(member)
        # The load balancer ends sessions and the router translates addresses: the reply retraces the chain.
        previous = self.hops[-1]
        for member in reversed(passed[:-1]):
            previous = self._member_hop(member, previous=previous)
            self.return_hops.append(previous)

    def back_to_users(self) -> None:
        """From the router out through the edge beside it: the gateway is the same at every site."""
        site = (self.return_hops or self.hops)[-1].site
        self.return_hops.append(_edge(site, link=HopLink.LOCAL))
        self.return_hops.append(_provider(site, link=HopLink.PROVIDER))
        near = self._users.near
        if site != near:
            backbone_ms = _one_way_ms(self._infrastructure, site, near)
            self.return_hops.append(_provider(near, link=HopLink.BACKBONE, one_way_ms=backbone_ms))
        self.return_hops.append(
            Hop(
                name=self._users.id,
                kind=HopKind.USERS,
                site=near,
                link=HopLink.ACCESS,
                one_way_ms=self._users.rtt / 2,
            )
        )

    def _choose(self, stage: tuple[MemberId, ...], via: MemberId | None) -> Member:
        wanted = (via,) if via is not None and via in stage else stage
        for member in wanted:
            if member in self._placement:
                return self._service.member(member)
        raise _EndedError(Ending.MEMBER_NOT_RUNNING, f"{' and '.join(wanted)} not running")

    def _require_segment(self, one: Member, other: Member) -> None:
        common = _common_segments(one, other)
        if not common:
            raise _EndedError(Ending.NO_COMMON_SEGMENT, f"{one.id} and {other.id} have no segment in common")
        sites = {site_of(self._placement[one.id]), site_of(self._placement[other.id])}
        if len(sites) > 1 and not any(sites <= self._stretched.get(segment, frozenset()) for segment in common):
            where = " and ".join(f"{m.id} ({site_of(self._placement[m.id])})" for m in (one, other))
            raise _EndedError(
                Ending.SEGMENT_NOT_STRETCHED,
                f"{where} share {' and '.join(common)}, which is not stretched between their sites",
            )

    def _member_hop(self, member: Member, *, previous: Hop) -> Hop:
        host = self._placement[member.id]
        site = site_of(host)
        link, one_way_ms = HopLink.LOCAL, 0.0
        if site != previous.site:
            link, one_way_ms = HopLink.INTER_SITE, _one_way_ms(self._infrastructure, previous.site, site)
        kind = HopKind(member.role.value)
        return Hop(name=member.id, kind=kind, site=site, host=host, link=link, one_way_ms=one_way_ms)


def _common_segments(one: Member, other: Member) -> list[SegmentId]:
    of_other = {port.segment for port in other.interfaces}
    return [port.segment for port in one.interfaces if port.segment in of_other]


def _provider(site: SiteId, *, link: HopLink, one_way_ms: float = 0.0) -> Hop:
    return Hop(name=f"provider-{site}", kind=HopKind.PROVIDER, site=site, link=link, one_way_ms=one_way_ms)


def _edge(site: SiteId, *, link: HopLink, one_way_ms: float = 0.0) -> Hop:
    return Hop(name=f"edge-{site}", kind=HopKind.EDGE, site=site, link=link, one_way_ms=one_way_ms)


def _one_way_ms(infrastructure: Infrastructure, one: SiteId, other: SiteId) -> float:
    try:
        return infrastructure.link(one, other).rtt / 2
    except KeyError:
        raise _EndedError(Ending.NO_LINK, f"no inter-site link joins {one} and {other}") from None
