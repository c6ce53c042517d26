"""What looks on and what is written down, in memory: watch, verifier, journal."""

from dataclasses import dataclass

from entourage.drivers.memory.world import MemoryWorld
from entourage.model.ids import SiteId, site_of
from entourage.model.world import Service
from entourage.ports.errors import PermanentError
from entourage.ports.journal import Decision
from entourage.ports.watch import EdgeTraffic


class MemoryWatch:
    """`entourage.ports.watch.TrafficWatch`: a test says by `arrive` what comes, and by `noisy` where it never ends."""

    def __init__(self, world: MemoryWorld) -> None:
        self._world = world
        self._seen: dict[SiteId, list[float]] | None = None
        self.is_watching = False
        self.noisy: set[SiteId] = set()

    def arrive(self, site: SiteId) -> None:
        """One packet at the site's edge, now; not counted while nobody watches."""
        self._world.require_site(site)
        if self.is_watching and self._seen is not None:
            self._seen[site].append(self._world.now)

    async def start(self, service: Service) -> None:
        """Count from zero."""
        async with self._world.call("watch.start", service.id):
            self._seen = {site: [] for site in self._world.sites()}
            self.is_watching = True

    async def seen(self, site: SiteId) -> EdgeTraffic:
        """What arrived; PermanentError if nobody ever watched."""
        async with self._world.call("watch.seen", site):
            self._world.require_site(site)
            if self._seen is None:
                raise PermanentError(f"nobody has watched {site}: start the watch first")
            at = self._seen[site]
            return EdgeTraffic(count=len(at), first=at[0] if at else None, last=at[-1] if at else None)

    async def wait_quiet(self, site: SiteId, *, quiet_s: float, deadline_s: float) -> bool:
        """Quiet at once, or never if the site is noisy: the world's clock goes on by what that took."""
        async with self._world.call("watch.wait_quiet", site):
            self._world.require_site(site)
            self._world.now += deadline_s if site in self.noisy else quiet_s
            return site not in self.noisy

    async def stop(self) -> None:
        """Watch no more; what was counted can still be asked for."""
        async with self._world.call("watch.stop"):
            self.is_watching = False


class MemoryVerifier:
    """`entourage.ports.watch.Verifier`: sees in the world whether packets would pass the whole chain."""

    def __init__(self, world: MemoryWorld) -> None:
        self._world = world
        self.found: list[str] = []  # what a test wants it to find besides

    async def problems(self, service: Service) -> tuple[str, ...]:
        """Members that do not run just once, gaps in the chain, and regions whose packets do not get to it."""
        async with self._world.call("verifier.problems", service.id):
            found = [*self.found]
            sites = {
                member.id: {site_of(host) for host in self._world.running(member.id)} for member in service.members
            }
            for member in service.members:
                running = self._world.running(member.id)
                if len(running) != 1:
                    found.append(f"{member.id} runs on {len(running)} hosts")
                for interface in member.interfaces:
                    joined = self._world.stretched.get((service.id, interface.segment), frozenset())
                    others = [m for m in service.members if any(i.segment == interface.segment for i in m.interfaces)]
                    apart = set().union(*(sites[m.id] for m in others))
                    if len(apart) > 1 and not apart <= joined:
                        found.append(f"{interface.segment} joins members at {', '.join(sorted(apart))}, unstretched")
            found += self._lost(service, sites[service.chain[0][0]])
            return tuple(dict.fromkeys(found))

    def _lost(self, service: Service, first: set[SiteId]) -> list[str]:
        """Sites at which packets may enter and from which they do not get to the first member of the chain."""
        entered = self._world.best_sites(service.id)
        if not entered:
            return [f"no site announces {service.prefix}"]
        reached = {site: self._world.tunnels.get((service.id, site), site) for site in entered}
        return [f"packets that enter at {site} end at {to}" for site, to in reached.items() if to not in first]


@dataclass(slots=True)
class MemoryJournal:
    """`entourage.ports.journal.Journal` in memory."""

    world: MemoryWorld
    decision: Decision | None = None

    async def check(self) -> None:
        """As good as the next decision."""
        async with self.world.call("journal.check"):
            return

    async def decide(self, decision: Decision) -> Decision:
        """The first one stands."""
        async with self.world.call("journal.decide", decision.value):
            if self.decision is None:
                self.decision = decision
            return self.decision
