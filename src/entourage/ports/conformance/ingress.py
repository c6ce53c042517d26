# ruff: noqa: D102 - a check's name says what it shows
"""What every `entourage.ports.ingress.Ingress` must do."""

from collections.abc import Set
from enum import Enum

from entourage.model.ids import SiteId
from entourage.model.world import Service
from entourage.ports.conformance.kit import Conformance, check, require, require_raises, wait_until
from entourage.ports.errors import PermanentError, UnsupportedError
from entourage.ports.ingress import Announcement, Ingress, IngressCapability, IngressState

_HEARD_WITHIN_S = 5.0  # until every region's best site has followed

ABSENT = IngressState(announcement=Announcement.ABSENT)
STAGED = IngressState(announcement=Announcement.STAGED)
ACTIVE = IngressState(announcement=Announcement.ACTIVE)
PREFERRED = IngressState(announcement=Announcement.PREFERRED)


class IngressConformance(Conformance):
    """The kit for ingress. It announces `service` at `source` and at `target`, and at both nothing in the end.

    What is lacking in the capabilities must raise UnsupportedError: `stage` without STAGE, `flip` without FLIP,
    `tunnel` without TUNNEL_LATE; `untunnel` is then nothing.
    """

    def __init__(self, driver: Ingress, *, service: Service, source: SiteId, target: SiteId) -> None:
        self.driver = driver
        self.service = service
        self.source = source
        self.target = target

    def can(self) -> Set[Enum]:
        """The driver's capabilities."""
        return self.driver.capabilities()

    async def clear(self) -> None:
        """Nothing announced and nothing tunnelled at either site."""
        for site in (self.source, self.target):
            await self.driver.withdraw(self.service, site)
            await self.driver.untunnel(self.service, source=site)

    @check()
    async def nothing_is_announced_at_first(self) -> None:
        await self._see(source=ABSENT, target=ABSENT)
        await self._see_best(None)

    @check()
    async def activate_brings_every_region_twice_the_same(self) -> None:
        for _ in range(2):
            await self.driver.activate(self.service, self.source)
            await self._see(source=ACTIVE, target=ABSENT)
            await self._see_best(self.source)

    @check(IngressCapability.STAGE)
    async def stage_brings_nobody_twice_the_same(self) -> None:
        await self.driver.activate(self.service, self.source)
        for _ in range(2):
            await self.driver.stage(self.service, self.target)
            await self._see(source=ACTIVE, target=STAGED)
            await self._see_best(self.source)

    @check(IngressCapability.STAGE, IngressCapability.FLIP)
    async def flip_brings_every_region_to_the_target_twice_the_same(self) -> None:
        await self._staged()
        for _ in range(2):
            await self.driver.flip(self.service, self.target)
            await self._see(source=ACTIVE, target=PREFERRED)
            await self._see_best(self.target)

    @check(IngressCapability.STAGE, IngressCapability.FLIP)
    async def stage_undoes_a_flip(self) -> None:
        await self._staged()
        await self.driver.flip(self.service, self.target)
        await self.driver.stage(self.service, self.target)
        await self._see(source=ACTIVE, target=STAGED)
        await self._see_best(self.source)

    @check(IngressCapability.STAGE)
    async def withdraw_undoes_a_stage_twice_the_same(self) -> None:
        await self._staged()
        for _ in range(2):
            await self.driver.withdraw(self.service, self.target)
            await self._see(source=ACTIVE, target=ABSENT)
            await self._see_best(self.source)

    @check()
    async def withdraw_of_the_only_announcement_leaves_no_route(self) -> None:
        await self.driver.activate(self.service, self.source)
        await self.driver.withdraw(self.service, self.source)
        await self._see(source=ABSENT, target=ABSENT)
        await self._see_best(None)

    @check(IngressCapability.TUNNEL_LATE)
    async def tunnel_shows_and_changes_no_announcement_twice_the_same(self) -> None:
        await self.driver.activate(self.service, self.source)
        for _ in range(2):
            await self.driver.tunnel(self.service, source=self.source, target=self.target)
            await self._see(source=self._tunnelling(Announcement.ACTIVE), target=ABSENT)
            await self._see_best(self.source)

    @check(IngressCapability.TUNNEL_LATE)
    async def untunnel_undoes_a_tunnel_twice_the_same(self) -> None:
        await self.driver.activate(self.service, self.source)
        await self.driver.tunnel(self.service, source=self.source, target=self.target)
        for _ in range(2):
            await self.driver.untunnel(self.service, source=self.source)
            await self._see(source=ACTIVE, target=ABSENT)

    @check()
    async def untunnel_without_a_tunnel_is_nothing(self) -> None:
        await self.driver.activate(self.service, self.source)
        await self.driver.untunnel(self.service, source=self.source)
        await self._see(source=ACTIVE, target=ABSENT)

    @check(IngressCapability.TUNNEL_LATE)
    async def withdraw_leaves_the_tunnel(self) -> None:
        await self.driver.activate(self.service, self.source)
        await self.driver.tunnel(self.service, source=self.source, target=self.target)
        await self.driver.withdraw(self.service, self.source)
        await self._see(source=self._tunnelling(Announcement.ABSENT), target=ABSENT)

    @check(IngressCapability.TUNNEL_LATE)
    async def activate_delivers_locally(self) -> None:
        await self.driver.tunnel(self.service, source=self.source, target=self.target)
        await self.driver.activate(self.service, self.source)
        await self._see(source=ACTIVE, target=ABSENT)

    @check(IngressCapability.TUNNEL_LATE)
    async def a_site_does_not_tunnel_to_itself(self) -> None:
        tunnel = self.driver.tunnel(self.service, source=self.source, target=self.source)
        await require_raises(PermanentError, tunnel, words="a tunnel from a site to itself")
        await self._see(source=ABSENT, target=ABSENT)

    @check(IngressCapability.STAGE, IngressCapability.FLIP, IngressCapability.TUNNEL_LATE)
    async def a_whole_switch_ends_as_if_the_service_had_always_been_there(self) -> None:
        await self._staged()
        await self.driver.tunnel(self.service, source=self.source, target=self.target)
        await self.driver.flip(self.service, self.target)
        await self._see_best(self.target)
        await self.driver.withdraw(self.service, self.source)
        await self._see(source=self._tunnelling(Announcement.ABSENT), target=PREFERRED)
        await self.driver.activate(self.service, self.target)
        await self.driver.untunnel(self.service, source=self.source)
        await self._see(source=ABSENT, target=ACTIVE)
        await self._see_best(self.target)

    @check()
    async def what_is_no_capability_is_refused_as_unsupported(self) -> None:
        await self.driver.activate(self.service, self.source)
        lacking = frozenset(IngressCapability) - self.driver.capabilities()
        if IngressCapability.STAGE in lacking:
            stage = self.driver.stage(self.service, self.target)
            await require_raises(UnsupportedError, stage, words="stage without STAGE")
        if IngressCapability.FLIP in lacking:
            flip = self.driver.flip(self.service, self.target)
            await require_raises(UnsupportedError, flip, words="flip without FLIP")
        if IngressCapability.TUNNEL_LATE in lacking:
            tunnel = self.driver.tunnel(self.service, source=self.source, target=self.target)
            await require_raises(UnsupportedError, tunnel, words="tunnel without TUNNEL_LATE")
        await self._see(source=ACTIVE, target=ABSENT)

    async def _staged(self) -> None:
        await self.driver.activate(self.service, self.source)
        await self.driver.stage(self.service, self.target)

    def _tunnelling(self, announcement: Announcement) -> IngressState:
        return IngressState(announcement=announcement, tunnel_to=self.target)

    async def _see(self, *, source: IngressState, target: IngressState) -> None:
        seen = await self.driver.observe(self.service)
        for site, wanted in ((self.source, source), (self.target, target)):
            require(site in seen, f"observe does not tell of {site}")
            require(seen[site] == wanted, f"{site} is {seen[site]}, not {wanted}")

    async def _see_best(self, wanted: SiteId | None) -> None:
        async def followed() -> bool:
            best = await self.driver.best_site(self.service)
            return not best if wanted is None else bool(best) and set(best.values()) == {wanted}

        words = f"every region enters at {wanted}" if wanted else "no region has a route"
        await wait_until(followed, words=words, deadline_s=_HEARD_WITHIN_S)
