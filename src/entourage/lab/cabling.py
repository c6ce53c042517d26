"""Everything of the lab's network that the kernel does, but what services have of it: cables, addresses, routes.

Each function brings up one part in new namespaces; they are called in the order in which they are written here.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from entourage.drivers.netns import Kernel, Namespace
from entourage.lab import names, witness
from entourage.lab.topology import PLAIN_MTU, UNDERLAY_MTU, LinkEnd, Topology, late_mac
from entourage.model.ids import SiteId
from entourage.model.world import Host, Site

_ROUTER_KINDS = ("edge-", "pop-")
ANYWHERE = IPv4Network("0.0.0.0/0")
_SYSCTLS = {
    "ipv6.conf.all.disable_ipv6": 1,  # no traffic that nobody asked for
    "ipv6.conf.default.disable_ipv6": 1,
    "ipv4.conf.all.rp_filter": 0,  # packets may come one way and leave another: that is what is studied
    "ipv4.conf.default.rp_filter": 0,
    "ipv4.conf.all.send_redirects": 0,
    "ipv4.conf.default.send_redirects": 0,
    "bridge.bridge-nf-call-iptables": 0,
    "bridge.bridge-nf-call-arptables": 0,
    "bridge.bridge-nf-call-ip6tables": 0,
}

Namespaces = Mapping[str, Namespace]
Uplinks = Mapping[SiteId, IPv4Network]
Hops = Mapping[SiteId, int]


async def create_namespaces(nodes: Namespaces) -> None:
    """Make every namespace, with its settings, its loopback up; only routers forward."""

    async def one(node: str, namespace: Namespace) -> None:
        await namespace.create()
        await namespace.do(lambda kernel: settings(kernel, forwards=node.startswith(_ROUTER_KINDS)))

    await asyncio.gather(*(one(node, namespace) for node, namespace in nodes.items()))


def settings(kernel: Kernel, *, forwards: bool) -> None:
    """What every namespace of a lab has."""
    for key, value in _SYSCTLS.items():
        kernel.sysctl(key, value)
    kernel.sysctl("ipv4.ip_forward", int(forwards))
    kernel.up("lo")


async def join_sites(nodes: Namespaces, topology: Topology) -> None:
    """The underlay inside each site, and each edge's cable to its provider router."""
    sites = topology.infrastructure.sites
    await asyncio.gather(*(_join_site(nodes, topology, site) for site in sites))
    await asyncio.gather(*(_join_host(nodes, topology, site, host) for site in sites for host in site.hosts))


async def _join_site(nodes: Namespaces, topology: Topology, site: Site) -> None:
    pop_address, edge_address = topology.uplink(site.id)

    def at_edge(kernel: Kernel) -> None:
        kernel.add_bridge("lan", mtu=UNDERLAY_MTU)
        kernel.address("lan", _inside(topology.edge_address(site.id), topology.lan(site.id)))
        for number, host in enumerate(site.hosts):
            there = nodes[names.host(host.id)].path
            kernel.add_veth(f"lan-{number}", peer="lan", peer_namespace=there, mtu=UNDERLAY_MTU)
            kernel.attach(f"lan-{number}", bridge="lan")
        kernel.add_veth("pop", peer="edge", peer_namespace=nodes[names.pop(site.id)].path, mtu=PLAIN_MTU)
        kernel.address("pop", edge_address)

    def at_pop(kernel: Kernel) -> None:
        kernel.up("edge")
        kernel.address("edge", pop_address)
        kernel.address("lo", IPv4Interface(topology.pop_address(site.id)))

    await nodes[names.edge(site.id)].do(at_edge)
    await nodes[names.pop(site.id)].do(at_pop)


async def _join_host(nodes: Namespaces, topology: Topology, site: Site, host: Host) -> None:
    def at_host(kernel: Kernel) -> None:
        kernel.up("lan")
        kernel.address("lan", _inside(topology.host_address(host.id), topology.lan(site.id)))
        kernel.route(ANYWHERE, gateway=topology.edge_address(site.id))

    await nodes[names.host(host.id)].do(at_host)


async def join_distant(nodes: Namespaces, topology: Topology) -> None:
    """Addresses and routes over the relay's links, which the relay has made; and the tunnel for late packets."""
    for link in topology.relay_links():
        for end in (link.a, link.b):
            await nodes[end.node].do(partial(_link_end, end=end))
    for region in topology.infrastructure.regions:
        gateway = topology.region_network(region.id)[1]
        await nodes[names.users(region.id)].do(partial(Kernel.route, prefix=ANYWHERE, gateway=gateway))
    for site in topology.infrastructure.sites:
        await _routes_between(nodes, topology, site.id)
        await nodes[names.edge(site.id)].do(partial(_late, topology=topology, site=site.id))


async def join_agents(nodes: Namespaces, topology: Topology) -> None:
    """The ways of the agents by the provider: from each edge to the witness and to the other edges, and back."""
    for number, site in enumerate(topology.infrastructure.sites):
        pop, _ = topology.uplink(site.id)
        hops = topology.next_hops(site.id)
        uplinks = {other: topology.uplink(other)[0].network for other in hops}

        def at_edge(kernel: Kernel, number: int = number, pop: IPv4Interface = pop, uplinks: Uplinks = uplinks) -> None:
            for prefix in (witness.network(number), *uplinks.values()):
                kernel.route(prefix, gateway=pop.ip)

        def at_pop(kernel: Kernel, site: SiteId = site.id, hops: Hops = hops, uplinks: Uplinks = uplinks) -> None:
            for other, link in hops.items():
                kernel.route(uplinks[other], gateway=topology.backbone_gateway(site, link=link))

        await nodes[names.edge(site.id)].do(at_edge)
        await nodes[names.pop(site.id)].do(at_pop)
        back = partial(Kernel.route, prefix=pop.network, gateway=witness.pop_end(number).ip)
        await nodes[witness.NODE].do(back)


def _link_end(kernel: Kernel, end: LinkEnd) -> None:
    kernel.up(end.device)
    kernel.address(end.device, end.address)


async def _routes_between(nodes: Namespaces, topology: Topology, site: SiteId) -> None:
    """At a site's edge the ways to the other sites' underlays, at its PoP the ways to the other PoPs."""
    hops = topology.next_hops(site)

    def at_edge(kernel: Kernel) -> None:
        for other, number in hops.items():
            kernel.route(topology.lan(other), gateway=topology.inter_site_gateway(site, link=number))

    def at_pop(kernel: Kernel) -> None:
        for other, number in hops.items():
            loopback = IPv4Network(topology.pop_address(other))
            kernel.route(loopback, gateway=topology.backbone_gateway(site, link=number))

    await nodes[names.edge(site)].do(at_edge)
    await nodes[names.pop(site)].do(at_pop)


def _late(kernel: Kernel, topology: Topology, site: SiteId) -> None:
    """The tunnel network between the edges: every peer's endpoint and MAC are fixed, nothing is flooded or asked."""
    device = names.LATE_DEVICE
    local = topology.edge_address(site)
    kernel.add_vxlan(device, vni=names.LATE_VNI, local=local, learning=False, mtu=PLAIN_MTU)
    kernel.up(device, mac=late_mac(topology.site_number(site)))
    kernel.address(device, topology.late_address(site))
    for other in topology.other_sites(site):
        mac = late_mac(topology.site_number(other.id))
        kernel.forward(device, mac=mac, peer=topology.edge_address(other.id))
        kernel.neighbour(topology.late_address(other.id).ip, mac=mac, device=device)


def _inside(address: IPv4Address, network: IPv4Network) -> IPv4Interface:
    return IPv4Interface((address, network.prefixlen))
