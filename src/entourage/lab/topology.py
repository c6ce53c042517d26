"""What a lab consists of, worked out from the infrastructure alone: nodes, links and addresses. Pure.

What each service adds to it stands in `hosted`. All underlay addresses are in 100.64.0.0/10 (RFC 6598), which neither
services nor their segments may use.
The provider is one autonomous system with a router (PoP) near each site; regions and edges hang on their PoP.
"""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from entourage.lab import names, witness
from entourage.lab.errors import LabError
from entourage.model.ids import HostId, RegionId, SiteId
from entourage.model.world import Infrastructure, InterSiteLink, Site

PROVIDER_AS = 64500
ENTERPRISE_AS = 64510
UNDERLAY_MTU = 9000  # bytes; so that a VXLAN frame with a full segment frame inside passes whole
PLAIN_MTU = 1500  # bytes; segments and the provider's links
UNDERLAY = IPv4Network("100.64.0.0/10")
_ACCESS_RATE = 1e9  # bit/s; the provider's own links are no bottleneck
_MOST = 200  # sites, links, regions, hosts per site: each has an octet of an address


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEnd:
    """One end of a relay link: the TAP `device` in the namespace of `node`, and its address."""

    node: str
    device: str
    address: IPv4Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLink:
    """A link that the relay carries. `rtt` in ms, `rate` in bit/s and `loss` 0..1 each way, `mtu` in bytes."""

    name: str
    a: LinkEnd
    b: LinkEnd
    rtt: float
    rate: float
    loss: float
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The lab of that name for an infrastructure."""

    lab: str
    infrastructure: Infrastructure

    def check(self) -> None:
        """LabError if no lab can be made of this: too large, or in pieces."""
        world = self.infrastructure
        names.check_lab_name(self.lab)
        for what, count in (
            ("sites", len(world.sites)),
            ("links", len(world.links)),
            ("regions", len(world.regions)),
            ("hosts at a site", max((len(s.hosts) for s in world.sites), default=0)),
        ):
            if count > _MOST:
                raise LabError(f"{count} {what} are too many for a lab on one machine: at most {_MOST}")
        nodes = self.nodes()
        for node in nodes:
            if nodes.count(node) > 1:
                raise LabError(f"two parts of the lab would be named {node}: rename a site or a host")
        for site in world.sites[1:]:
            if site.id not in self.next_hops(world.sites[0].id):
                raise LabError(f"no link leads from {world.sites[0].id} to {site.id}: add one under `links`")

    def nodes(self) -> tuple[str, ...]:
        """Every node, each of which is a namespace; without those of services."""
        world = self.infrastructure
        routers = [name for s in world.sites for name in (names.edge(s.id), names.pop(s.id))]
        hosts = [names.host(h.id) for s in world.sites for h in s.hosts]
        return (*routers, *hosts, *(names.users(r.id) for r in world.regions), witness.NODE, names.RELAY)

    def site_number(self, site: SiteId) -> int:
        """The position of a site: its octet in every address."""
        return [s.id for s in self.infrastructure.sites].index(site)

    def lan(self, site: SiteId) -> IPv4Network:
        """The underlay network of a site's hosts and edge."""
        return IPv4Network(f"100.64.{self.site_number(site)}.0/24")

    def edge_address(self, site: SiteId) -> IPv4Address:
        """The edge's address in its site's underlay."""
        return self.lan(site)[1]

    def host_address(self, host: HostId) -> IPv4Address:
        """The host's address in its site's underlay; KeyError if there is no such host."""
        for site in self.infrastructure.sites:
            for number, candidate in enumerate(site.hosts):
                if candidate.id == host:
                    return self.lan(site.id)[10 + number]
        raise KeyError(host)

    def uplink(self, site: SiteId) -> tuple[IPv4Interface, IPv4Interface]:
        """The addresses of the cable between PoP (first) and edge (second)."""
        network = IPv4Network(f"100.65.{self.site_number(site)}.0/30")
        return _at(network, 1), _at(network, 2)

    def pop_address(self, site: SiteId) -> IPv4Address:
        """The loopback address of a PoP: its BGP identity inside the provider."""
        return IPv4Network("100.69.0.0/24")[self.site_number(site) + 1]

    def late_address(self, site: SiteId) -> IPv4Interface:
        """The edge's address on the tunnel network for late packets."""
        return _at(IPv4Network("100.70.0.0/24"), self.site_number(site) + 1)

    def region_network(self, region: RegionId) -> IPv4Network:
        """The network of a region's users: the PoP is its first address, the users' machine its second."""
        number = [r.id for r in self.infrastructure.regions].index(region)
        return IPv4Network(f"100.66.{number}.0/24")

    def regions_near(self, site: SiteId) -> tuple[RegionId, ...]:
        """The regions whose provider router is the one near `site`."""
        return tuple(r.id for r in self.infrastructure.regions if r.near == site)

    def relay_links(self) -> tuple[RelayLink, ...]:
        """Every link that has a delay, a rate or a loss."""
        return (*self._inter_site_links(), *self._backbone_links(), *self._access_links(), *self._witness_links())

    def _inter_site_links(self) -> Iterator[RelayLink]:
        for number, link in enumerate(self.infrastructure.links):
            one, other = link.sites
            network, device = IPv4Network(f"100.67.{number}.0/30"), f"isl-{number}"
            yield RelayLink(
                name=names.inter_site(one, other),
                a=LinkEnd(node=names.edge(one), device=device, address=_at(network, 1)),
                b=LinkEnd(node=names.edge(other), device=device, address=_at(network, 2)),
                rtt=link.rtt,
                rate=link.rate,
                loss=link.loss,
                mtu=UNDERLAY_MTU,
            )

    def _backbone_links(self) -> Iterator[RelayLink]:
        for number, link in enumerate(self.infrastructure.links):
            one, other = link.sites
            network, device = IPv4Network(f"100.68.{number}.0/30"), f"bb-{number}"
            yield RelayLink(
                name=names.backbone(one, other),
                a=LinkEnd(node=names.pop(one), device=device, address=_at(network, 1)),
                b=LinkEnd(node=names.pop(other), device=device, address=_at(network, 2)),
                rtt=link.rtt,
                rate=_ACCESS_RATE,
                loss=0,
                mtu=PLAIN_MTU,
            )

    def _access_links(self) -> Iterator[RelayLink]:
        for number, region in enumerate(self.infrastructure.regions):
            network = self.region_network(region.id)
            yield RelayLink(
                name=names.access(region.id),
                a=LinkEnd(node=names.users(region.id), device="pop", address=_at(network, 2)),
                b=LinkEnd(node=names.pop(region.near), device=f"users-{number}", address=_at(network, 1)),
                rtt=region.rtt,
                rate=_ACCESS_RATE,
                loss=0,
                mtu=PLAIN_MTU,
            )

    def _witness_links(self) -> Iterator[RelayLink]:
        for number, site in enumerate(self.infrastructure.sites):
            yield RelayLink(
                name=witness.link(site.id),
                a=LinkEnd(node=witness.NODE, device=witness.device(number), address=witness.witness_end(number)),
                b=LinkEnd(node=names.pop(site.id), device=witness.POP_DEVICE, address=witness.pop_end(number)),
                rtt=witness.RTT,
                rate=_ACCESS_RATE,
                loss=0,
                mtu=PLAIN_MTU,
            )

    def next_hops(self, site: SiteId) -> Mapping[SiteId, int]:
        """For every other site that can be reached: the number of the link that the shortest way (by RTT) starts with.

        Dijkstra's algorithm from `site`.
        """
        first: dict[SiteId, int] = {}
        queue: list[tuple[float, SiteId, int]] = [(0.0, site, -1)]
        while queue:
            distance, at, via = heapq.heappop(queue)
            if at in first:
                continue
            first[at] = via
            for number, link in enumerate(self.infrastructure.links):
                if at in link.sites:
                    heapq.heappush(queue, (distance + link.rtt, _far_end(link, at), number if via < 0 else via))
        del first[site]
        return first

    def inter_site_gateway(self, site: SiteId, *, link: int) -> IPv4Address:
        """The address of the far edge on the inter-site link of that number, as `site` sees it."""
        return _far_address(list(self._inter_site_links())[link], names.edge(site))

    def backbone_gateway(self, site: SiteId, *, link: int) -> IPv4Address:
        """The address of the far provider router beside the inter-site link of that number."""
        return _far_address(list(self._backbone_links())[link], names.pop(site))

    def other_sites(self, site: SiteId) -> tuple[Site, ...]:
        """All sites but this one."""
        return tuple(s for s in self.infrastructure.sites if s.id != site)

    def segment_endpoints(self, site: SiteId, *, ingress: bool) -> tuple[tuple[str, IPv4Address], ...]:
        """The nodes of a site that a segment reaches, with their underlay addresses; the edge only for `ingress`."""
        hosts = [(names.host(h.id), self.host_address(h.id)) for h in self.infrastructure.site(site).hosts]
        return (*hosts, (names.edge(site), self.edge_address(site))) if ingress else tuple(hosts)

    def relay_config(self, control: Path) -> dict[str, Any]:
        """What the relay process reads: its control socket and its links."""
        return {"control": str(control), "links": [self._relay_entry(link) for link in self.relay_links()]}

    def _relay_entry(self, link: RelayLink) -> dict[str, Any]:
        ends = {
            side: {"netns": str(names.namespace_path(self.lab, end.node)), "ifname": end.device}
            for side, end in (("a", link.a), ("b", link.b))
        }
        shape = {"rtt_ms": link.rtt, "rate_bps": link.rate, "loss": link.loss, "mtu": link.mtu}
        return {"name": link.name, **ends, **shape}


def gateway_mac(gateway: IPv4Address) -> str:
    """The MAC of a segment's gateway: made from its address, so the same at every site."""
    return "02:ed:" + ":".join(f"{octet:02x}" for octet in gateway.packed)


def late_mac(site_number: int) -> str:
    """The MAC of an edge on the tunnel network for late packets."""
    return f"02:1a:7e:00:00:{site_number + 1:02x}"


def _far_end(link: InterSiteLink, site: SiteId) -> SiteId:
    one, other = link.sites
    return other if site == one else one


def _far_address(link: RelayLink, node: str) -> IPv4Address:
    return (link.b if link.a.node == node else link.a).address.ip


def _at(network: IPv4Network, number: int) -> IPv4Interface:
    return IPv4Interface((network[number], network.prefixlen))
