"""A service in a lab: its number there, and the names and addresses that follow from it alone. Pure.

Services may have the same inner addresses and MACs. What keeps them apart is the number: each has VNIs of its own, so
bridges of its own on the hosts, and at every site's edge a routing table of its own. That is a namespace, for not every
kernel has VRFs. It has the service's gateway, and a cable with addresses of its own to the edge, which routes the
service's prefix to it; everything else it sends back to the edge.
"""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from entourage.lab import names
from entourage.lab.errors import LabError
from entourage.lab.topology import UNDERLAY
from entourage.model.ids import SegmentId, SiteId
from entourage.model.world import Service

MOST_SERVICES = 1000
_FIRST_VNI = 100
_VNIS = 1000  # of each service, so at most as many segments
_CABLES = IPv4Network("100.71.0.0/16")
_CABLE = 30  # prefix length of a cable's network


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """A service and its number in the lab: unique, and the same as long as the service is there."""

    service: Service
    number: int

    def vni(self, segment: SegmentId) -> int:
        """The VXLAN network identifier of a segment, the same at every host."""
        return _FIRST_VNI + _VNIS * self.number + [s.id for s in self.service.segments].index(segment)

    def bridge(self, segment: SegmentId) -> str:
        """The bridge of a segment, on hosts and in the service's routing tables."""
        return names.bridge(self.vni(segment))

    def vxlan(self, segment: SegmentId) -> str:
        """The VXLAN device of a segment, on hosts and in the service's routing tables."""
        return names.vxlan(self.vni(segment))

    def vrf(self, site: SiteId) -> str:
        """The node of its routing table at a site."""
        return names.vrf(site, self.service.id)

    @property
    def cable(self) -> str:
        """The device at every edge that leads to the service's routing table there."""
        return f"svc-{self.number}"

    @property
    def cable_ends(self) -> tuple[IPv4Interface, IPv4Interface]:
        """The addresses of that cable: the edge's, and the routing table's. The same at every site."""
        step = 1 << (32 - _CABLE)
        network = _CABLES[step * self.number]
        return IPv4Interface((network + 1, _CABLE)), IPv4Interface((network + 2, _CABLE))

    @property
    def sequence(self) -> int:
        """The place of its prefix in the routers' prefix lists."""
        return 10 * (self.number + 1)

    def first_hop(self) -> tuple[IPv4Address, str]:
        """The address and the MAC to which its packets are delivered: the first member, on the ingress segment."""
        first = self.service.member(self.service.chain[0][0]).on(self.service.ingress_segment().id)
        return first.address, first.mac


def free_number(taken: Collection[Hosted]) -> int:
    """The lowest number that no service has. LabError if there are as many services as a lab can have."""
    numbers = {hosted.number for hosted in taken}
    if len(numbers) >= MOST_SERVICES:
        raise LabError(f"a lab has at most {MOST_SERVICES} services")
    return min(set(range(MOST_SERVICES)) - numbers)


def check_room(service: Service, others: Collection[Hosted]) -> None:
    """LabError if the service cannot be in a lab, or not beside `others`: a name or address is taken."""
    if len(service.segments) > _VNIS:
        raise LabError(f"{service.id} has {len(service.segments)} segments: a lab can have {_VNIS} of each service")
    for network in (service.prefix, *(s.subnet for s in service.segments)):
        if network.overlaps(UNDERLAY):
            raise LabError(f"{network} of {service.id} overlaps {UNDERLAY}, which the lab itself needs")
    own = {member.id for member in service.members}
    for other in (hosted.service for hosted in others):
        if other.id == service.id:
            raise LabError(f"there is a service {service.id} already; take it away first: entourage delete {other.id}")
        if other.prefix.overlaps(service.prefix):
            raise LabError(f"prefix {service.prefix} of {service.id} overlaps {other.prefix} of {other.id}")
        if same := sorted(own & {member.id for member in other.members}):
            raise LabError(
                f"{service.id} and {other.id} both have a member named {', '.join(same)}: "
                "members' names are unique in a lab"
            )
