"""Two sites, 50 ms apart, and the service of examples/shop.yaml, built without the parser."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, ServiceId, SiteId
from entourage.model.world import (
    Host,
    Infrastructure,
    Interface,
    InterSiteLink,
    Member,
    Region,
    Role,
    Segment,
    Service,
    Site,
    Snapshot,
)

EAST, WEST = SiteId("east"), SiteId("west")
USERS_EAST, USERS_WEST = RegionId("users-east"), RegionId("users-west")
RT, FW, LB, WEB1, WEB2 = (MemberId(name) for name in ("rt", "fw", "lb", "web1", "web2"))
MEMBERS = (RT, FW, LB, WEB1, WEB2)
INNER = (SegmentId("outside"), SegmentId("dmz"), SegmentId("inside"))
BOTH = frozenset({EAST, WEST})
ALL_STRETCHED: Mapping[SegmentId, frozenset[SiteId]] = dict.fromkeys(INNER, BOTH)

_PORTS = {
    RT: (Role.ROUTER, ("transit", "outside")),
    FW: (Role.FIREWALL, ("outside", "dmz")),
    LB: (Role.LOAD_BALANCER, ("dmz", "inside")),
    WEB1: (Role.SERVER, ("inside",)),
    WEB2: (Role.SERVER, ("inside",)),
}
_SUBNETS = {"transit": 0, "outside": 1, "dmz": 2, "inside": 3}


def infrastructure(*, rtt: float = 50.0, access: float = 5.0, linked: bool = True) -> Infrastructure:
    """Sites east and west with two hosts each, joined by a link unless `linked` is False."""
    return Infrastructure(
        sites=tuple(
            Site(
                id=site,
                hosts=tuple(Host(id=HostId(f"{site}/{host}"), memory=2 << 30, cpu=2.0) for host in ("h1", "h2")),
            )
            for site in (EAST, WEST)
        ),
        links=(InterSiteLink(sites=(EAST, WEST), rtt=rtt, rate=200e6),) if linked else (),
        regions=(Region(id=USERS_EAST, near=EAST, rtt=access), Region(id=USERS_WEST, near=WEST, rtt=access)),
    )


def service() -> Service:
    """The router, firewall, load balancer and two servers of the example."""
    return Service(
        id=ServiceId("shop"),
        prefix=IPv4Network("203.0.113.0/28"),
        address=IPv4Address("203.0.113.10"),
        segments=tuple(
            Segment(
                id=SegmentId(name),
                subnet=IPv4Network(f"10.20.{number}.0/24"),
                gateway=IPv4Address("10.20.0.1") if name == "transit" else None,
            )
            for name, number in _SUBNETS.items()
        ),
        members=tuple(_member(index, member) for index, member in enumerate(MEMBERS)),
        chain=((RT,), (FW,), (LB,), (WEB1, WEB2)),
        home=EAST,
    )


def snapshot(
    *,
    at: Mapping[MemberId, SiteId] | None = None,
    ingress: SiteId = EAST,
    on: Infrastructure | None = None,
) -> Snapshot:
    """Every member at east, or where `at` says; packets of both regions enter at `ingress`."""
    return Snapshot(
        taken_at=0.0,
        infrastructure=on or infrastructure(),
        service=service(),
        placement={member: HostId(f"{(at or {}).get(member, EAST)}/h1") for member in MEMBERS},
        ingress={USERS_EAST: ingress, USERS_WEST: ingress},
    )


def _member(index: int, member: MemberId) -> Member:
    role, segments = _PORTS[member]
    return Member(
        id=member,
        role=role,
        memory=128 << 20,
        cpu=0.25,
        interfaces=tuple(
            Interface(
                segment=SegmentId(name),
                address=IPv4Address(f"10.20.{_SUBNETS[name]}.{10 + index}"),
                mac=f"52:54:00:20:{_SUBNETS[name]:02x}:{index:02x}",
            )
            for name in segments
        ),
    )
