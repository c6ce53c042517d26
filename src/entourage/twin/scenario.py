"""The scenario of one run, drawn from its seed: a service of one to five members at two sites, and what the world is
like."""

import math
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from random import Random

from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, ServiceId, SiteId
from entourage.model.world import Interface, Member, Role, Segment, Service
from entourage.switch import Group, Policy
from entourage.twin.parts import Scenario

EAST, WEST = SiteId("east"), SiteId("west")
HOSTS = tuple(HostId(f"{site}/{host}") for site in (EAST, WEST) for host in ("h1", "h2"))
REGIONS = {RegionId("users-east"): EAST, RegionId("users-west"): WEST}
INSIDE = SegmentId("inside")
MOST = 5  # members

_NAMES = ("rt", "fw", "lb", "web1", "web2")
_ROLES = (Role.ROUTER, Role.FIREWALL, Role.LOAD_BALANCER, Role.SERVER, Role.SERVER)
_SEGMENTS = ("edge", "middle", "inside")
_ON = (("edge", "middle"), ("middle", "inside"), ("inside",), ("inside",), ("inside",))  # of each member, in order
_MEMORY = 64 << 20


@cache
def a_service(count: int) -> Service:
    """A service of so many members, 1 to 5: the router first, then firewall, load balancer and servers."""
    segments = tuple(
        Segment(
            id=SegmentId(name),
            subnet=IPv4Network(f"10.{number}.0.0/24"),
            gateway=IPv4Address("10.0.0.1") if name == "edge" else None,
        )
        for number, name in enumerate(_SEGMENTS)
    )
    members = tuple(
        Member(
            id=MemberId(name),
            role=role,
            memory=_MEMORY,
            cpu=1.0,
            interfaces=tuple(
                Interface(
                    segment=SegmentId(segment),
                    address=IPv4Address(f"10.{_SEGMENTS.index(segment)}.0.{10 + number}"),
                    mac=f"52:54:00:00:0{_SEGMENTS.index(segment)}:1{number}",
                )
                for segment in _ON[number]
            ),
        )
        for number, (name, role) in enumerate(zip(_NAMES[:count], _ROLES, strict=False))
    )
    first = tuple((member.id,) for member in members[:3])
    servers = tuple(member.id for member in members[3:])
    return Service(
        id=ServiceId("shop"),
        prefix=IPv4Network("203.0.113.0/24"),
        address=IPv4Address("203.0.113.10"),
        segments=segments,
        members=members,
        chain=(*first, servers) if servers else first,
        home=EAST,
    )


def host_of(member: MemberId, site: SiteId) -> HostId:
    """Where the member runs at a site: appliances on h1, servers on h2."""
    return HostId(f"{site}/{'h2' if member.startswith('web') else 'h1'}")


def a_group(
    service: Service,
    order: tuple[MemberId, ...],
    *,
    link_rate: float,
    rounds: int,
    back: bool,
    most_bytes: float = math.inf,
) -> Group:
    """A move of these members from east to west, or `back` to the others. A part of a service stretches `inside`."""
    whole = len(order) == len(service.members)
    source, target = (WEST, EAST) if back else (EAST, WEST)
    return Group(
        order=order,
        sources={member: host_of(member, source) for member in order},
        targets={member: host_of(member, target) for member in order},
        source_site=source,
        target_site=target,
        moves_ingress=whole,
        stretch=(INSIDE,) if not whole and not back else (),
        unstretch=(INSIDE,) if not whole and back else (),
        policy=Policy(
            link_rate=link_rate, enough_bytes=int(link_rate * 0.01), max_rounds=rounds, most_bytes=most_bytes
        ),
    )


def draw_scenario(chance: Random) -> Scenario:
    """What a seed decides before a run begins."""
    service = a_service(chance.choice((1, 2, 2, 3, 3, 4, 4, 5)))
    names = [member.id for member in service.members]
    part = len(names) > 3 and chance.random() < 0.25
    order = names[3:] if part else names
    chance.shuffle(order)
    link_rate = chance.choice((12.5e6, 25e6, 125e6))
    group = a_group(
        service,
        tuple(order),
        link_rate=link_rate,
        rounds=chance.randint(1, 3),
        back=part and chance.random() < 0.5,
        most_bytes=chance.choice((math.inf, link_rate * 0.1)),
    )
    dirty = (0.0, 5e4, 1e6, 4e6)
    return Scenario(
        service=service,
        group=group,
        hosts=HOSTS,
        regions=REGIONS,
        stretched={INSIDE: frozenset({EAST, WEST})} if group.unstretch else {},
        link_rate=link_rate,
        dirty_rates={name: chance.choice(dirty) for name in names},
        latency_s=chance.choice((0.001, 0.005, 0.03)),
        latency_spread=chance.choice((0.0, 1.0)),
        restart_s=chance.choice((0.1, 1.0, 5.0, 30.0, 300.0)),
        link_carries_control=chance.random() < 0.3,
        shuffles=chance.random() < 0.5,
    )


def plain_scenario(count: int) -> Scenario:
    """The scenario of which every point is tried: a whole service of so many members, every call just as long."""
    service = a_service(count)
    order = tuple(member.id for member in service.members)
    return Scenario(
        service=service,
        group=a_group(service, order, link_rate=25e6, rounds=1, back=False),
        hosts=HOSTS,
        regions=REGIONS,
        stretched={},
        link_rate=25e6,
        dirty_rates=dict.fromkeys(order, 1e6),
        latency_s=0.005,
        latency_spread=0.0,
        restart_s=1.0,
        link_carries_control=False,
        shuffles=False,
    )
