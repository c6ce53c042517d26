"""The ingress driver for edges that run FRR: one prefix, announced with a preference by MED (RFC 4271, 5.1.4).

An announcement is one `network … route-map …` statement in the edge's bgpd, so every change is one update. bgpd
holds a change for 50 ms before it works on it (fixed in FRR 8.4), once at each router on the way: an update is sent
51 ms after the command, and the whole provider follows some 100 ms and the links' delays later. Until then the
tunnel, which is at work at once, carries what still arrives at the source.
The tunnel for late packets is the kernel's route for the prefix at the edge: to the service, or by the other site's
edge.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from entourage.drivers.netns import Namespace
from entourage.drivers.vty import Vty
from entourage.model.ids import RegionId, SiteId
from entourage.model.world import Service
from entourage.ports.errors import OutcomeUnknownError, PermanentError, TemporaryError
from entourage.ports.ingress import Announcement, IngressCapability, IngressState

MED: Mapping[Announcement, int] = {
    Announcement.PREFERRED: 10,
    Announcement.ACTIVE: 50,
    Announcement.STAGED: 100,
}  # the lowest wins
SERVICE_LIST = "SERVICE"  # the prefix list of what edges may announce, and provider routers take from them
_HEARD_WITHIN = 5.0  # seconds until the provider must have what an edge announced
_LOOK_AGAIN = 0.002  # seconds; BGP tells a third party nothing, so the provider's table is polled


def route_map(announcement: Announcement) -> str:
    """The route map, to be configured at every edge, that sets the MED of an announcement."""
    return f"ENTOURAGE-{announcement.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRouter:
    """One site's edge, and the provider's router that it speaks with."""

    namespace: Path  # of the edge, as under /run/netns
    vty: Path  # the edge's bgpd
    uplink: IPv4Address  # the edge's address towards the provider: its next hop
    delivery: IPv4Address  # where the edge delivers what is for the service
    late: IPv4Address  # the edge's address on the tunnel network
    provider_vty: Path  # the provider router's bgpd
    provider: IPv4Address  # the provider router's address inside the provider: its next hop there
    autonomous_system: int


class FrrIngress:
    """`entourage.ports.ingress.Ingress` by FRR's bgpd. Close it when done: it keeps a session with every router.

    `near` names for each region the site whose provider router its users hang on.
    """

    def __init__(self, edges: Mapping[SiteId, EdgeRouter], *, near: Mapping[RegionId, SiteId]) -> None:
        self._edges = edges
        self._near = near
        self._vtys = {site: Vty(edge.vty) for site, edge in edges.items()}
        self._providers = {site: Vty(edge.provider_vty) for site, edge in edges.items()}
        self._namespaces = {site: Namespace(edge.namespace) for site, edge in edges.items()}

    async def close(self) -> None:
        """End all sessions; nothing that was announced changes."""
        for router in self._routers():
            await router.close()
        for namespace in self._namespaces.values():
            namespace.close()

    def capabilities(self) -> frozenset[IngressCapability]:
        """All but LEASE: bgpd goes on announcing when nobody is there to control it."""
        return frozenset({IngressCapability.STAGE, IngressCapability.FLIP, IngressCapability.TUNNEL_LATE})

    async def admit(self, service: Service, *, sequence: int) -> None:
        """Let edges announce the service's prefix, and the provider take it: entry `sequence` of their lists."""
        for router in self._routers():
            await router.configure([_entry(service, sequence)])

    async def expel(self, service: Service, *, sequence: int) -> None:
        """Take back what `admit` did, where it did; a router that is dead has no lists."""
        entry = _entry(service, sequence)
        for router in self._routers():
            with suppress(TemporaryError):
                if entry in (await router.show("show running-config")).splitlines():
                    await router.configure([f"no {entry}"])

    async def observe(self, service: Service) -> Mapping[SiteId, IngressState]:
        """Each edge's own announcement as bgpd has it, and its route for the prefix as the kernel has it."""
        sites = list(self._edges)
        states = await asyncio.gather(*(self._state(service, site) for site in sites))
        return dict(zip(sites, states, strict=True))

    async def best_site(self, service: Service) -> Mapping[RegionId, SiteId]:
        """For each region the site whose edge is the way out of its provider router's best path."""
        try:
            best = (await self._tables(service.prefix)).best
        except TemporaryError:
            return {}
        return {region: best[site] for region, site in self._near.items() if site in best}

    async def activate(self, service: Service, site: SiteId) -> None:
        """Announce at the normal preference and deliver locally; returns when the whole provider follows."""
        await self.untunnel(service, source=site)
        await self._announce(service.prefix, site, Announcement.ACTIVE)
        await self._settled(service.prefix)

    async def stage(self, service: Service, site: SiteId) -> None:
        """Announce below every active announcement; returns when the whole provider has it."""
        await self._announce(service.prefix, site, Announcement.STAGED)
        await self._settled(service.prefix)

    async def flip(self, service: Service, site: SiteId) -> None:
        """Announce above every active announcement; returns when the provider's router at `site` has it."""
        await self._announce(service.prefix, site, Announcement.PREFERRED)

    async def withdraw(self, service: Service, site: SiteId) -> None:
        """Announce no more; returns when the whole provider follows. Nothing if not announced."""
        if await self._announcement(service.prefix, site) is Announcement.ABSENT:
            return
        await self._configure(site, f"no network {service.prefix}")

        async def gone() -> bool:
            return site not in (await self._tables(service.prefix)).announced

        await _until(gone, f"the provider still hears that {site} announces {service.prefix}")
        await self._settled(service.prefix)

    async def tunnel(self, service: Service, *, source: SiteId, target: SiteId) -> None:
        """Route the prefix at `source`'s edge to `target`'s edge: one netlink message."""
        if source == target:
            raise PermanentError(f"the edge of {source} cannot tunnel to itself")
        await self._route(service, self._edge(source), gateway=self._edge(target).late)

    async def untunnel(self, service: Service, *, source: SiteId) -> None:
        """Route the prefix at `source`'s edge to the service there again."""
        await self._route(service, self._edge(source), gateway=self._edge(source).delivery)

    def _edge(self, site: SiteId) -> EdgeRouter:
        if site not in self._edges:
            raise PermanentError(f"there is no edge at {site!r}: the sites are {', '.join(self._edges)}")
        return self._edges[site]

    async def _route(self, service: Service, edge: EdgeRouter, *, gateway: IPv4Address) -> None:
        namespace = next(n for n in self._namespaces.values() if n.path == edge.namespace)
        await namespace.do(lambda kernel: kernel.route(service.prefix, gateway=gateway))

    async def _configure(self, site: SiteId, statement: str) -> None:
        router = f"router bgp {self._edge(site).autonomous_system}"
        await self._vtys[site].configure([router, "address-family ipv4 unicast", statement])

    def _routers(self) -> tuple[Vty, ...]:
        return (*self._vtys.values(), *self._providers.values())

    async def _announce(self, prefix: IPv4Network, site: SiteId, announcement: Announcement) -> None:
        edge, provider = self._edge(site), self._providers[site]
        await self._configure(site, f"network {prefix} route-map {route_map(announcement)}")

        async def heard() -> bool:
            paths = await _paths(provider, prefix)
            return any(_next_hop(p) == edge.uplink and p.get("metric") == MED[announcement] for p in paths)

        await _until(heard, f"the provider has not heard that {site} announces {prefix} as {announcement.value}")

    async def _announcement(self, prefix: IPv4Network, site: SiteId) -> Announcement:
        self._edge(site)
        own = [p for p in await _paths(self._vtys[site], prefix) if p.get("sourced")]
        if not own:
            return Announcement.ABSENT
        return next((a for a, med in MED.items() if med == own[0].get("metric")), Announcement.ACTIVE)

    async def _observed(self, prefix: IPv4Network, site: SiteId) -> Announcement:
        try:
            return await self._announcement(prefix, site)
        except TemporaryError:  # bgpd is dead: what else there is to see of the edge is seen all the same
            return Announcement.UNKNOWN

    async def _state(self, service: Service, site: SiteId) -> IngressState:
        announcement, route = await asyncio.gather(
            self._observed(service.prefix, site),
            self._namespaces[site].do(lambda kernel: kernel.find_route(service.prefix)),
        )
        late = {edge.late: other for other, edge in self._edges.items()}
        gateway = route.gateway if route else None
        return IngressState(announcement=announcement, tunnel_to=late.get(gateway) if gateway else None)

    async def _settled(self, prefix: IPv4Network) -> None:
        """Wait until every provider router has chosen by what the edges announce now."""

        async def chosen() -> bool:
            return (await self._tables(prefix)).settled()

        await _until(chosen, f"the provider's routers have not all chosen their way to {prefix}")

    async def _tables(self, prefix: IPv4Network) -> "_Tables":
        leads_to = {e.uplink: site for site, e in self._edges.items()} | {e.provider: s for s, e in self._edges.items()}
        tables = await asyncio.gather(*(_paths(provider, prefix) for provider in self._providers.values()))
        announced: dict[SiteId, int] = {}
        best: dict[SiteId, SiteId] = {}
        for site, paths in zip(self._providers, tables, strict=True):
            for path in paths:
                hop = _next_hop(path)
                if hop == self._edges[site].uplink:
                    announced[site] = path.get("metric", 0)
                if hop in leads_to and path.get("bestpath", {}).get("overall"):
                    best[site] = leads_to[hop]
        return _Tables(sites=frozenset(self._edges), announced=announced, best=best)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """What the provider's routers have: the MED that each site's edge announces, and where each one's best leads."""

    sites: frozenset[SiteId]
    announced: Mapping[SiteId, int]
    best: Mapping[SiteId, SiteId]

    def settled(self) -> bool:
        """True if each router sends packets to a site with the lowest MED, to its own if that is among them."""
        if not self.announced:
            return not self.best
        lowest = min(self.announced.values())
        preferred = {site for site, med in self.announced.items() if med == lowest}
        return all(self.best.get(s) in ({s} if s in preferred else preferred) for s in self.sites)


def _entry(service: Service, sequence: int) -> str:
    return f"ip prefix-list {SERVICE_LIST} seq {sequence} permit {service.prefix}"


async def _paths(vty: Vty, prefix: IPv4Network) -> list[dict[str, Any]]:
    table = await vty.show_json(f"show bgp ipv4 unicast {prefix} json")
    paths: list[dict[str, Any]] = table.get("paths", [])
    return paths


def _next_hop(path: dict[str, Any]) -> IPv4Address | None:
    hops = path.get("nexthops", [])
    return IPv4Address(hops[0]["ip"]) if hops and "ip" in hops[0] else None


async def _until(condition: Callable[[], Awaitable[bool]], complaint: str) -> None:
    try:
        async with asyncio.timeout(_HEARD_WITHIN):
            while True:
                if await condition():
                    return
                await asyncio.sleep(_LOOK_AGAIN)
    except TimeoutError:
        raise OutcomeUnknownError(complaint) from None
