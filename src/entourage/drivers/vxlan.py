"""The segments driver for VXLAN (RFC 7348): a segment is stretched by its hosts' flood lists.

Each host has for each segment a VXLAN device that floods to the other hosts of its own site and learns from what
comes. Stretching adds the other sites' hosts to the lists; unstretching removes them and what was learned.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from entourage.drivers.netns import FLOOD_MAC, Forwarding, Kernel, Namespace
from entourage.model.ids import SegmentId, SiteId
from entourage.model.world import Service
from entourage.ports.errors import PermanentError, UnsupportedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A host as the segments see it: its namespace and its underlay address."""

    site: SiteId
    namespace: Path
    address: IPv4Address


class VxlanSegments:
    """`entourage.ports.segments.Segments` by VXLAN flood lists. Close it when done.

    `devices` names the VXLAN device of each segment, the same at every host.
    """

    def __init__(self, endpoints: tuple[Endpoint, ...], *, devices: Mapping[SegmentId, str]) -> None:
        self._endpoints = endpoints
        self._devices = devices
        self._namespaces = {endpoint: Namespace(endpoint.namespace) for endpoint in endpoints}
        self._sites = {endpoint.address: endpoint.site for endpoint in endpoints}

    async def close(self) -> None:
        """Let go of the hosts' namespaces; what was stretched stays so."""
        for namespace in self._namespaces.values():
            namespace.close()

    async def observe(self, service: Service) -> Mapping[SegmentId, frozenset[SiteId]]:
        """For each stretched segment the sites that it joins, read from the kernel's flood lists."""
        stretched: dict[SegmentId, frozenset[SiteId]] = {}
        for segment in service.segments:
            joined = await asyncio.gather(*(self._joined(end, segment.id) for end in self._endpoints))
            sites = frozenset[SiteId]().union(*joined)
            if sites:
                stretched[segment.id] = sites
        return stretched

    async def stretch(self, service: Service, segment: SegmentId, sites: frozenset[SiteId]) -> None:
        """Join the segment of all `sites`. Sites joined before and not named stay joined."""
        device = self._device(service, segment)
        if unknown := sites - {end.site for end in self._endpoints}:
            raise PermanentError(
                f"{segment} cannot be stretched to {', '.join(sorted(unknown))}: there is no such site"
            )
        joined = [end for end in self._endpoints if end.site in sites]
        # Members have moved since a site learned where they are: what it knows would be a black hole in the joint
        # segment, because those that stay do not announce themselves. An empty table floods, and learns anew.
        await asyncio.gather(*(self._forget(end, device, lambda e: e.mac != FLOOD_MAC) for end in joined))
        await asyncio.gather(*(self._add(end, device, sites) for end in joined))

    async def unstretch(self, service: Service, segment: SegmentId) -> None:
        """Separate the sites again: no flooding to the other site, and nothing that was learned of it."""
        device = self._device(service, segment)
        # All flooding ends before anything is forgotten, or a late broadcast would be learned from again.
        await asyncio.gather(*(self._forget_elsewhere(end, device, flooding=True) for end in self._endpoints))
        await asyncio.gather(*(self._forget_elsewhere(end, device, flooding=False) for end in self._endpoints))

    def _device(self, service: Service, segment: SegmentId) -> str:
        if service.segment(segment).gateway is not None:
            raise UnsupportedError(f"{segment} is the ingress segment: it has a gateway at every site, never stretched")
        return self._devices[segment]

    async def _joined(self, end: Endpoint, segment: SegmentId) -> frozenset[SiteId]:
        entries = await self._namespaces[end].do(lambda kernel: kernel.forwarding(self._devices[segment]))
        others = {self._sites.get(e.peer, end.site) for e in entries if e.mac == FLOOD_MAC} - {end.site}
        return frozenset(others | {end.site}) if others else frozenset()

    async def _add(self, end: Endpoint, device: str, sites: frozenset[SiteId]) -> None:
        peers = [e.address for e in self._endpoints if e.site in sites and e.site != end.site]

        def work(kernel: Kernel) -> None:
            for peer in peers:
                kernel.flood(device, peer=peer)

        await self._namespaces[end].do(work)

    async def _forget(self, end: Endpoint, device: str, is_void: Callable[[Forwarding], bool]) -> None:
        def work(kernel: Kernel) -> None:
            for entry in kernel.forwarding(device):
                if is_void(entry):
                    kernel.forget(device, entry)

        await self._namespaces[end].do(work)

    async def _forget_elsewhere(self, end: Endpoint, device: str, *, flooding: bool) -> None:
        elsewhere = set(self._elsewhere(end))
        await self._forget(end, device, lambda e: (e.mac == FLOOD_MAC) == flooding and e.peer in elsewhere)

    def _elsewhere(self, end: Endpoint) -> Iterator[IPv4Address]:
        return (address for address, site in self._sites.items() if site != end.site)
