"""What a service has of the lab's network: its segments at every site, and its routing table at every edge.

Made in namespaces that are there, and taken away again from whatever part of it was made.
"""

import asyncio
import errno
from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Address, IPv4Interface

from entourage.drivers.netns import Kernel, Namespace, NetworkError
from entourage.lab import names
from entourage.lab.cabling import ANYWHERE, settings
from entourage.lab.hosted import Hosted
from entourage.lab.topology import PLAIN_MTU, Topology, gateway_mac
from entourage.model.world import Segment, Site

Namespaces = Mapping[str, Namespace]
_UPLINK = "edge"  # a routing table's end of the cable


def nodes_of(topology: Topology, hosted: Hosted) -> list[str]:
    """The nodes in which something of the service is: hosts, edges, and its routing tables."""
    sites = topology.infrastructure.sites
    hosts = [names.host(host.id) for site in sites for host in site.hosts]
    return [*hosts, *(name for site in sites for name in (names.edge(site.id), hosted.vrf(site.id)))]


async def join(nodes: Namespaces, topology: Topology, hosted: Hosted) -> None:
    """Make all of it; nothing of it is there yet."""
    await asyncio.gather(*(_join_site(nodes, topology, hosted, site) for site in topology.infrastructure.sites))


async def _join_site(nodes: Namespaces, topology: Topology, hosted: Hosted, site: Site) -> None:
    edge, vrf = nodes[names.edge(site.id)], nodes[hosted.vrf(site.id)]
    await vrf.create()
    await vrf.do(partial(settings, forwards=True))
    for segment in hosted.service.segments:
        ends = topology.segment_endpoints(site.id, ingress=segment.gateway is not None)
        for node, local in ends:
            peers = [address for _, address in ends if address != local]
            add = partial(_add_vxlan, hosted=hosted, segment=segment, local=local)
            attach = partial(_attach, hosted=hosted, segment=segment, peers=peers)
            if nodes[node] is edge:
                # Its packets go on being sent and received where it was made, in the underlay.
                await edge.do(partial(add, to=vrf))
                await vrf.do(attach)
            else:
                await nodes[node].do(add)
                await nodes[node].do(attach)
    await edge.do(partial(_add_cable, hosted=hosted, vrf=vrf))
    await vrf.do(partial(_deliver, hosted=hosted))
    await edge.do(lambda kernel: kernel.route(hosted.service.prefix, gateway=hosted.cable_ends[1].ip))


def _add_vxlan(
    kernel: Kernel, *, hosted: Hosted, segment: Segment, local: IPv4Address, to: Namespace | None = None
) -> None:
    device = hosted.vxlan(segment.id)
    kernel.add_vxlan(device, vni=hosted.vni(segment.id), local=local, learning=True, mtu=PLAIN_MTU)
    if to is not None:
        kernel.move(device, namespace=to.path)


def _attach(kernel: Kernel, *, hosted: Hosted, segment: Segment, peers: list[IPv4Address]) -> None:
    device, bridge = hosted.vxlan(segment.id), hosted.bridge(segment.id)
    kernel.add_bridge(bridge, mtu=PLAIN_MTU)
    kernel.attach(device, bridge=bridge)
    kernel.up(device)
    for peer in peers:
        kernel.flood(device, peer=peer)


def _add_cable(kernel: Kernel, *, hosted: Hosted, vrf: Namespace) -> None:
    kernel.add_veth(hosted.cable, peer=_UPLINK, peer_namespace=vrf.path, mtu=PLAIN_MTU)
    kernel.address(hosted.cable, hosted.cable_ends[0])


def _deliver(kernel: Kernel, *, hosted: Hosted) -> None:
    """The gateway, and the route for the prefix by the first member, whose MAC is known for good:

    before the group is here ARP would find nobody, and the first packets after the switch would wait for it.
    """
    segment = hosted.service.ingress_segment()
    bridge = hosted.bridge(segment.id)
    assert segment.gateway is not None  # what makes a segment the ingress segment
    kernel.up(bridge, mac=gateway_mac(segment.gateway))
    kernel.address(bridge, IPv4Interface((segment.gateway, segment.subnet.prefixlen)))
    first, mac = hosted.first_hop()
    kernel.neighbour(first, mac=mac, device=bridge)
    kernel.route(hosted.service.prefix, gateway=first)
    kernel.up(_UPLINK)
    kernel.address(_UPLINK, hosted.cable_ends[1])
    kernel.route(ANYWHERE, gateway=hosted.cable_ends[0].ip)


async def join_apart(nodes: Namespaces, topology: Topology, hosted: Hosted, site: Site) -> None:
    """Make segments and the routing table at one site only, with no cable to the edge: nobody else can reach it."""
    vrf = nodes[hosted.vrf(site.id)]
    await vrf.create()
    await vrf.do(partial(settings, forwards=False))
    first = nodes[names.host(site.hosts[0].id)]
    for segment in hosted.service.segments:
        ends = topology.segment_endpoints(site.id, ingress=False)
        for node, local in ends:
            peers = [address for _, address in ends if address != local]
            await nodes[node].do(partial(_add_vxlan, hosted=hosted, segment=segment, local=local))
            await nodes[node].do(partial(_attach, hosted=hosted, segment=segment, peers=peers))
    await first.do(partial(_add_plug, hosted=hosted, vrf=vrf))
    await vrf.do(partial(_deliver_apart, hosted=hosted))


def _add_plug(kernel: Kernel, *, hosted: Hosted, vrf: Namespace) -> None:
    """A cable from the ingress segment at a host into the routing table."""
    kernel.add_veth(hosted.cable, peer=_UPLINK, peer_namespace=vrf.path, mtu=PLAIN_MTU)
    kernel.attach(hosted.cable, bridge=hosted.bridge(hosted.service.ingress_segment().id))
    kernel.up(hosted.cable)


def _deliver_apart(kernel: Kernel, *, hosted: Hosted) -> None:
    """The gateway on that cable, and the way to the service by its first member."""
    segment = hosted.service.ingress_segment()
    assert segment.gateway is not None
    kernel.up(_UPLINK, mac=gateway_mac(segment.gateway))
    kernel.address(_UPLINK, IPv4Interface((segment.gateway, segment.subnet.prefixlen)))
    first, mac = hosted.first_hop()
    kernel.neighbour(first, mac=mac, device=_UPLINK)
    kernel.route(hosted.service.prefix, gateway=first)


async def part_apart(nodes: Namespaces, topology: Topology, hosted: Hosted, site: Site) -> None:
    """Remove its devices at the site's hosts, and no route of anybody: its own namespace goes after this."""
    devices = [hosted.cable, *(name(s.id) for s in hosted.service.segments for name in (hosted.vxlan, hosted.bridge))]

    def remove(kernel: Kernel) -> None:
        for device in devices:
            kernel.remove_device(device)

    await asyncio.gather(*(nodes[names.host(host.id)].do(remove) for host in site.hosts))


async def part(nodes: Namespaces, topology: Topology, hosted: Hosted) -> None:
    """Remove every device and route of it but those in its own namespaces, which go as a whole after this."""
    devices = [name(s.id) for s in hosted.service.segments for name in (hosted.vxlan, hosted.bridge)]

    async def one(node: str) -> None:
        try:
            await nodes[node].do(partial(_part, hosted=hosted, devices=devices))
        except NetworkError as error:
            if error.code != errno.ENOENT:  # the namespace was never made, or is gone
                raise

    await asyncio.gather(*(one(node) for node in nodes_of(topology, hosted)))


def _part(kernel: Kernel, *, hosted: Hosted, devices: list[str]) -> None:
    kernel.unroute(hosted.service.prefix)  # at an edge it may lead to another edge
    for device in (hosted.cable, *devices):
        kernel.remove_device(device)
