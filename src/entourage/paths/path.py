"""A path as data: its hops, its ending, and what both add up to.

That a path ends in one of a small closed set, each with exact conditions, is an idea of Batfish's traceroute.
"""

from dataclasses import dataclass
from enum import Enum

from entourage.model.ids import HostId, RegionId, SiteId


class Ending(Enum):
    """How a request ends. Exactly one holds; they are looked for in the order in which the request meets them."""

    DELIVERED = "delivered"  # a member of the last stage got the request, and the reply got back to the users
    NO_ROUTE = "no-route"  # the region has no route to the service's prefix
    NO_LINK = "no-link"  # two neighbours on the path are at sites that no inter-site link joins
    MEMBER_NOT_RUNNING = "member-not-running"  # the member whose turn it is runs nowhere
    NO_COMMON_SEGMENT = "no-common-segment"  # two neighbours in the chain have no segment in common
    SEGMENT_NOT_STRETCHED = "segment-not-stretched"  # they have one, but are at different sites that it does not join


class HopKind(Enum):
    """What stands at a hop. The last four are the values of `Role`."""

    USERS = "users"  # the region that asks
    PROVIDER = "provider"  # the provider's point of presence at a site
    EDGE = "edge"  # a site's own edge router
    ROUTER = "router"
    FIREWALL = "firewall"
    LOAD_BALANCER = "load-balancer"
    SERVER = "server"


class HopLink(Enum):
    """By what a hop is reached from the one before it."""

    ACCESS = "access"  # between users and the provider near them: half the region's RTT
    PROVIDER = "provider"  # between a provider's point of presence and the edge beside it: no delay of its own
    BACKBONE = "backbone"  # inside the provider, between the two sites' points of presence: half the sites' RTT
    LOCAL = "local"  # inside one site: no delay of its own
    INTER_SITE = "inter-site"  # the link between two sites: half its RTT, and one crossing


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One station of a path. `host` is None for what is no member; `link` is None only for the first hop.

    `one_way_ms` is what it takes from the hop before it.
    """

    name: str
    kind: HopKind
    site: SiteId
    host: HostId | None = None
    link: HopLink | None = None
    one_way_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The way of one request (`hops`, users first) and of its reply (`return_hops`, users last).

    `direct_ms` is the round trip that the region would have if every member ran at the ingress site; None
    without a route. If the ending is not DELIVERED, `hops` ends with the last station that got the request,
    `return_hops` is empty and `detail` says what is missing, in words.
    """

    region: RegionId
    ending: Ending
    hops: tuple[Hop, ...]
    return_hops: tuple[Hop, ...] = ()
    direct_ms: float | None = None
    detail: str = ""

    @property
    def is_delivered(self) -> bool:
        """Whether the request arrived, and its reply too."""
        return self.ending is Ending.DELIVERED

    @property
    def inter_site_crossings(self) -> int:
        """How often the request and its reply cross an inter-site link. The provider's backbone is none."""
        return sum(hop.link is HopLink.INTER_SITE for hop in self.hops + self.return_hops)

    @property
    def rtt_ms(self) -> float | None:
        """The round trip in ms, without the time that stations themselves take; None if not delivered."""
        if not self.is_delivered:
            return None
        return sum(hop.one_way_ms for hop in self.hops + self.return_hops)

    @property
    def added_ms(self) -> float | None:
        """What the round trip takes longer than with everything at the ingress site; None if not delivered."""
        if self.rtt_ms is None or self.direct_ms is None:
            return None
        return self.rtt_ms - self.direct_ms

    @property
    def is_trombone(self) -> bool:
        """Whether the request crosses an inter-site link and comes back to its users."""
        return self.is_delivered and self.inter_site_crossings > 0


def to_json(path: Path) -> dict[str, object]:
    """The path as it stands in reports; `rtt_ms` and `added_ms` are null if it was not delivered."""
    return {
        "region": path.region,
        "ending": path.ending.value,
        "hops": [_hop_json(hop) for hop in path.hops],
        "return_hops": [_hop_json(hop) for hop in path.return_hops],
        "inter_site_crossings": path.inter_site_crossings,
        "rtt_ms": path.rtt_ms,
        "added_ms": path.added_ms,
    }


def _hop_json(hop: Hop) -> dict[str, object]:
    return {
        "name": hop.name,
        "kind": hop.kind.value,
        "site": hop.site,
        "host": hop.host,
        "link": hop.link.value if hop.link else None,
        "one_way_ms": hop.one_way_ms,
    }
