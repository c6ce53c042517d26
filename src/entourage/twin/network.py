"""Edges, segments, and what sees packets in the simulated world, as one process sees them."""

import asyncio
from collections.abc import Callable, Mapping

from entourage.model.ids import RegionId, SegmentId, SiteId
from entourage.model.world import Service
from entourage.ports.errors import OutcomeUnknownError, PermanentError, UnsupportedError
from entourage.ports.ingress import Announcement, IngressCapability, IngressState
from entourage.ports.watch import EdgeTraffic
from entourage.twin.world import Client, World

_HEARD_WITHIN_S = 5.0
_LOOK_AGAIN_S = 0.25


class TwinIngress:
    """`entourage.ports.ingress.Ingress`: edges with a session each to the provider, which may be down."""

    def __init__(self, world: World, client: Client) -> None:
        self._world = world
        self._client = client

    def capabilities(self) -> frozenset[IngressCapability]:
        """All but leases."""
        return frozenset(IngressCapability) - {IngressCapability.LEASE}

    async def observe(self, service: Service) -> Mapping[SiteId, IngressState]:
        """What the edges do."""
        world = self._world

        def effect() -> Mapping[SiteId, IngressState]:
            return {
                site: IngressState(
                    announcement=world.announced.get(site, Announcement.ABSENT), tunnel_to=world.tunnels.get(site)
                )
                for site in world.sites
            }

        return await self._client.ask("observe", service.id, endpoint="edges", effect=effect)

    async def best_site(self, service: Service) -> Mapping[RegionId, SiteId]:
        """The most preferred announcement that is heard; of equal ones the region's own site, else the first."""

        def effect() -> Mapping[RegionId, SiteId]:
            best = self._world.best_sites()
            regions = self._world.scenario.regions
            return {region: near if near in best else best[0] for region, near in regions.items() if best}

        return await self._client.ask("best", service.id, endpoint="provider", effect=effect)

    async def activate(self, service: Service, site: SiteId) -> None:
        """First deliver locally, then announce at the normal preference."""
        await self.untunnel(service, source=site)
        await self._announce("activate", site, Announcement.ACTIVE)

    async def stage(self, service: Service, site: SiteId) -> None:
        """Announce below every other."""
        await self._announce("stage", site, Announcement.STAGED)

    async def flip(self, service: Service, site: SiteId) -> None:
        """Announce above every other; PermanentError where nothing was announced before."""

        def staged() -> None:
            if site not in self._world.announced:
                raise PermanentError(f"{site} does not announce {service.prefix}: stage it before the flip")

        await self._announce("flip", site, Announcement.PREFERRED, first=staged)

    async def tunnel(self, service: Service, *, source: SiteId, target: SiteId) -> None:
        """Send what still arrives at `source` to `target`."""

        def effect() -> None:
            self._world.require_sites(source, target)
            if source == target:
                raise PermanentError(f"the edge of {source} cannot tunnel to itself")
            self._world.tunnels[source] = target
            self._world.served()

        await self._client.ask("tunnel", source, endpoint=_edge(source), effect=effect)

    async def untunnel(self, service: Service, *, source: SiteId) -> None:
        """Deliver locally."""

        def effect() -> None:
            self._world.require_sites(source)
            if self._world.tunnels.pop(source, None) is not None:
                self._world.served()

        await self._client.ask("untunnel", source, endpoint=_edge(source), effect=effect)

    async def withdraw(self, service: Service, site: SiteId) -> None:
        """Announce no more."""

        def effect() -> None:
            self._world.require_sites(site)
            if site in self._world.announced:
                self._world.announce(site, Announcement.ABSENT, by=self._client.name)

        await self._client.ask("withdraw", site, endpoint=_edge(site), effect=effect)

    async def _announce(
        self, method: str, site: SiteId, announcement: Announcement, *, first: Callable[[], None] | None = None
    ) -> None:
        def effect() -> None:
            self._world.require_sites(site)
            if first is not None:
                first()
            self._world.announce(site, announcement, by=self._client.name)

        await self._client.ask(method, site, endpoint=_edge(site), effect=effect)
        waited_s = 0.0
        while self._world.bgp_down_until.get(site, 0.0) > self._world.loop.time():
            if waited_s >= _HEARD_WITHIN_S:
                raise OutcomeUnknownError(f"the provider has not heard that {site} is {announcement.value}")
            await asyncio.sleep(_LOOK_AGAIN_S)
            waited_s += _LOOK_AGAIN_S


class TwinSegments:
    """`entourage.ports.segments.Segments`: one end at a time, so whoever dies leaves half of it."""

    def __init__(self, world: World, client: Client) -> None:
        self._world = world
        self._client = client

    async def observe(self, service: Service) -> Mapping[SegmentId, frozenset[SiteId]]:
        """What is joined."""
        return await self._client.ask(
            "observe", service.id, endpoint="segments", effect=lambda: dict(self._world.stretched)
        )

    async def stretch(self, service: Service, segment: SegmentId, sites: frozenset[SiteId]) -> None:
        """Join; sites joined before stay joined."""
        _require_inner(service, segment)
        self._world.require_sites(*sites)
        if len(sites) > 1:
            known = self._world.stretched.get(segment, frozenset())
            await self._join(segment, known | sites)

    async def unstretch(self, service: Service, segment: SegmentId) -> None:
        """Separate."""
        _require_inner(service, segment)
        await self._join(segment, frozenset())

    async def _join(self, segment: SegmentId, sites: frozenset[SiteId]) -> None:
        def effect() -> None:
            self._world.note(self._client.name, f"  {segment} joins {' and '.join(sorted(sites)) or 'nothing'}")
            if sites:
                self._world.stretched[segment] = sites
            else:
                self._world.stretched.pop(segment, None)
            self._world.served()

        words = "stretch" if sites else "unstretch"
        await self._client.ask(words, segment, endpoint="segments", effect=effect)


class TwinWatch:
    """`entourage.ports.watch.TrafficWatch`: users never stop, so an edge is quiet when no route leads to it."""

    def __init__(self, world: World, client: Client) -> None:
        self._world = world
        self._client = client

    async def start(self, service: Service) -> None:
        """Nothing is counted here."""
        await self._client.ask("watch", service.id, endpoint="watch", effect=lambda: None)

    async def seen(self, site: SiteId) -> EdgeTraffic:
        """Nothing was counted."""
        return EdgeTraffic(count=0, first=None, last=None)

    async def wait_quiet(self, site: SiteId, *, quiet_s: float, deadline_s: float) -> bool:
        """Quiet as soon as users enter elsewhere."""
        waited_s = 0.0
        while site in await self._client.ask("quiet", site, endpoint="watch", effect=self._world.best_sites):
            if waited_s >= deadline_s:
                return False
            await asyncio.sleep(quiet_s)
            waited_s += quiet_s
        await asyncio.sleep(quiet_s)
        return True

    async def stop(self) -> None:
        """Nothing is under way."""


class TwinVerifier:
    """`entourage.ports.watch.Verifier`: sees in the world whether a request would be answered."""

    def __init__(self, world: World, client: Client) -> None:
        self._world = world
        self._client = client

    async def problems(self, service: Service) -> tuple[str, ...]:
        """Members that do not run just once, gaps in the chain, and packets that do not get to it."""

        def effect() -> tuple[str, ...]:
            self._client.verified_at = self._world.loop.time()
            return tuple(self._world.troubles())

        return await self._client.ask("verify", service.id, endpoint="users", effect=effect)


def _edge(site: SiteId) -> str:
    return f"{site} edge"


def _require_inner(service: Service, segment: SegmentId) -> None:
    known = {s.id: s for s in service.segments}
    if segment not in known:
        raise PermanentError(f"{service.id} has no segment {segment!r}: it has {', '.join(known)}")
    if known[segment].gateway is not None:
        raise UnsupportedError(f"{segment} is the ingress segment: it has a gateway at every site, never stretched")
