"""Ingress and segments in memory."""

from collections.abc import Mapping

from entourage.drivers.memory.world import MemoryWorld
from entourage.model.ids import RegionId, SegmentId, SiteId
from entourage.model.world import Service
from entourage.ports.errors import PermanentError, UnsupportedError
from entourage.ports.ingress import Announcement, IngressCapability, IngressState


class MemoryIngress:
    """`entourage.ports.ingress.Ingress` for all sites of a MemoryWorld, with the world's capabilities."""

    def __init__(self, world: MemoryWorld) -> None:
        self._world = world

    def capabilities(self) -> frozenset[IngressCapability]:
        """As the world has it."""
        return self._world.ingress_capabilities

    async def observe(self, service: Service) -> Mapping[SiteId, IngressState]:
        """What the world has at every site."""
        async with self._world.call("ingress.observe", service.id):
            return {
                site: IngressState(
                    announcement=self._world.announcements.get((service.id, site), Announcement.ABSENT),
                    tunnel_to=self._world.tunnels.get((service.id, site)),
                )
                for site in self._world.sites()
            }

    async def best_site(self, service: Service) -> Mapping[RegionId, SiteId]:
        """The most preferred announcement; of equal ones the region's own site, else the first."""
        async with self._world.call("ingress.best_site", service.id):
            best = self._world.best_sites(service.id)
            return {region: near if near in best else best[0] for region, near in self._world.regions.items() if best}

    async def activate(self, service: Service, site: SiteId) -> None:
        """Announce at the normal preference, and deliver locally."""
        async with self._world.call("ingress.activate", service.id, site):
            self._announce(service, site, Announcement.ACTIVE)
            self._world.tunnels.pop((service.id, site), None)

    async def stage(self, service: Service, site: SiteId) -> None:
        """Announce below every other."""
        async with self._world.call("ingress.stage", service.id, site):
            self._require(IngressCapability.STAGE, "announce without attracting traffic")
            self._announce(service, site, Announcement.STAGED)

    async def flip(self, service: Service, site: SiteId) -> None:
        """Announce above every other; PermanentError where nothing was announced before."""
        async with self._world.call("ingress.flip", service.id, site):
            self._require(IngressCapability.FLIP, "change the preferred site by one update")
            self._world.require_site(site)
            if (service.id, site) not in self._world.announcements:
                raise PermanentError(f"{site} does not announce {service.prefix}: stage it before the flip")
            self._announce(service, site, Announcement.PREFERRED)

    async def tunnel(self, service: Service, *, source: SiteId, target: SiteId) -> None:
        """Send what still arrives at `source` to `target`."""
        async with self._world.call("ingress.tunnel", service.id, source, target):
            self._require(IngressCapability.TUNNEL_LATE, "forward what still arrives at the source")
            self._world.require_site(source)
            self._world.require_site(target)
            if source == target:
                raise PermanentError(f"the edge of {source} cannot tunnel to itself")
            self._world.tunnels[(service.id, source)] = target

    async def untunnel(self, service: Service, *, source: SiteId) -> None:
        """Deliver locally."""
        async with self._world.call("ingress.untunnel", service.id, source):
            self._world.require_site(source)
            self._world.tunnels.pop((service.id, source), None)

    async def withdraw(self, service: Service, site: SiteId) -> None:
        """Announce no more."""
        async with self._world.call("ingress.withdraw", service.id, site):
            self._world.require_site(site)
            self._world.announcements.pop((service.id, site), None)

    def _announce(self, service: Service, site: SiteId, announcement: Announcement) -> None:
        self._world.require_site(site)
        self._world.announcements[(service.id, site)] = announcement

    def _require(self, capability: IngressCapability, what: str) -> None:
        if capability not in self._world.ingress_capabilities:
            raise UnsupportedError(f"this ingress cannot {what}: it has no {capability.name}")


class MemorySegments:
    """`entourage.ports.segments.Segments` for all sites of a MemoryWorld."""

    def __init__(self, world: MemoryWorld) -> None:
        self._world = world

    async def observe(self, service: Service) -> Mapping[SegmentId, frozenset[SiteId]]:
        """What the world has joined."""
        async with self._world.call("segments.observe", service.id):
            return {segment: at for (name, segment), at in self._world.stretched.items() if name == service.id}

    async def stretch(self, service: Service, segment: SegmentId, sites: frozenset[SiteId]) -> None:
        """Join; sites joined before stay joined."""
        async with self._world.call("segments.stretch", service.id, segment):
            _require_inner(service, segment)
            for site in sites:
                self._world.require_site(site)
            known = self._world.stretched.get((service.id, segment), frozenset())
            if len(known | sites) > 1:
                self._world.stretched[(service.id, segment)] = known | sites

    async def unstretch(self, service: Service, segment: SegmentId) -> None:
        """Separate."""
        async with self._world.call("segments.unstretch", service.id, segment):
            _require_inner(service, segment)
            self._world.stretched.pop((service.id, segment), None)


def _require_inner(service: Service, segment: SegmentId) -> None:
    known = {s.id: s for s in service.segments}
    if segment not in known:
        raise PermanentError(f"{service.id} has no segment {segment!r}: it has {', '.join(known)}")
    if known[segment].gateway is not None:
        raise UnsupportedError(f"{segment} is the ingress segment: it has a gateway at every site, never stretched")
