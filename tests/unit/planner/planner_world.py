"""A service of any members on two sites, and everything that a planner is told besides."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from entourage.planner import HostLoad, MoveRequest, Plan, Refusal, Strategy, plan
from entourage.ports.hypervisor import Capability

EAST, WEST = SiteId("east"), SiteId("west")
USERS_EAST, USERS_WEST = RegionId("users-east"), RegionId("users-west")
SHOP = ServiceId("shop")
RT, FW, LB, WEB1, WEB2 = (MemberId(name) for name in ("rt", "fw", "lb", "web1", "web2"))
MEMBERS = (RT, FW, LB, WEB1, WEB2)
SERVERS = frozenset({WEB1, WEB2})
H1, H2 = HostId("west/h1"), HostId("west/h2")
MIB = 1 << 20
LINK = InterSiteLink(sites=(EAST, WEST), rtt=50.0, rate=200e6)
EMPTY = HostLoad(memory=0, cpu=0.0)
EVERYTHING = frozenset(Capability)
ONLY_MIGRATE = frozenset({Capability.MIGRATE, Capability.ENCRYPTED})
SEGMENTS = ("transit", "outside", "dmz", "inside")
_ROLES = {RT: Role.ROUTER, FW: Role.FIREWALL, LB: Role.LOAD_BALANCER, WEB1: Role.SERVER, WEB2: Role.SERVER}
_ON = {RT: (0, 1), FW: (1, 2), LB: (2, 3), WEB1: (3,), WEB2: (3,)}


def snapshot(
    *,
    at: Mapping[MemberId, SiteId] | None = None,
    ingress: SiteId = EAST,
    sizes: Mapping[MemberId, tuple[int, float]] | None = None,
    dirty: Mapping[MemberId, float] | None = None,
    link: InterSiteLink | None = LINK,
    hosts: Sequence[tuple[int, float]] = ((2048 * MIB, 2.0), (2048 * MIB, 2.0)),
) -> Snapshot:
    """All at east, or where `at` says. `sizes` and `hosts`: memory and cpu of members and of each site's hosts."""
    sites = tuple(
        Site(
            id=site,
            hosts=tuple(
                Host(id=HostId(f"{site}/h{number}"), memory=memory, cpu=cpu)
                for number, (memory, cpu) in enumerate(hosts, start=1)
            ),
        )
        for site in (EAST, WEST)
    )
    regions = (Region(id=USERS_EAST, near=EAST, rtt=5.0), Region(id=USERS_WEST, near=WEST, rtt=5.0))
    members = []
    for member in map(_member, MEMBERS):
        memory, cpu = (sizes or {}).get(member.id, (member.memory, member.cpu))
        members.append(replace(member, memory=memory, cpu=cpu, dirty_rate=(dirty or {}).get(member.id, 0.0)))
    return Snapshot(
        taken_at=0.0,
        infrastructure=Infrastructure(sites=sites, links=(link,) if link else (), regions=regions),
        service=Service(
            id=SHOP,
            prefix=IPv4Network("203.0.113.0/28"),
            address=IPv4Address("203.0.113.10"),
            segments=tuple(map(_segment, range(4))),
            members=tuple(members),
            chain=((RT,), (FW,), (LB,), (WEB1, WEB2)),
            home=EAST,
        ),
        placement={member: HostId(f"{(at or {}).get(member, EAST)}/h1") for member in MEMBERS},
        ingress={USERS_EAST: ingress, USERS_WEST: ingress},
    )


def request(
    *, target: SiteId = WEST, members: frozenset[MemberId] | None = None, strategy: Strategy | None = None
) -> MoveRequest:
    """A request to move the service, or a part of it, to west."""
    return MoveRequest(service=SHOP, target=target, members=members, strategy=strategy)


def outcome(
    world: Snapshot,
    wanted: MoveRequest,
    *,
    loads: Mapping[HostId, HostLoad] | None = None,
    can: frozenset[Capability] = EVERYTHING,
    stretched: Mapping[SegmentId, frozenset[SiteId]] | None = None,
) -> Plan | Refusal:
    """What the planner says; every host is empty and every driver can do everything unless told otherwise."""
    empty = {host.id: EMPTY for site in world.infrastructure.sites for host in site.hosts}
    return plan(
        world,
        wanted,
        loads=empty if loads is None else loads,
        capabilities=dict.fromkeys(MEMBERS, can),
        stretched=stretched,
    )


def planned(world: Snapshot, wanted: MoveRequest, *, can: frozenset[Capability] = EVERYTHING) -> Plan:
    """The plan, which there must be."""
    result = outcome(world, wanted, can=can)
    assert isinstance(result, Plan), result.to_json()
    return result


def _segment(number: int) -> Segment:
    gateway = IPv4Address("10.20.0.1") if number == 0 else None
    return Segment(id=SegmentId(SEGMENTS[number]), subnet=IPv4Network(f"10.20.{number}.0/24"), gateway=gateway)


def _member(member: MemberId) -> Member:
    index = 10 + MEMBERS.index(member)
    interfaces = tuple(
        Interface(
            segment=SegmentId(SEGMENTS[number]),
            address=IPv4Address(f"10.20.{number}.{index}"),
            mac=f"52:54:00:20:{number:02x}:{index:02x}",
        )
        for number in _ON[member]
    )
    return Member(id=member, role=_ROLES[member], memory=128 * MIB, cpu=0.25, interfaces=interfaces)
