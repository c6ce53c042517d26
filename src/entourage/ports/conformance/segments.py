# ruff: noqa: D102 - a check's name says what it shows
"""What every `entourage.ports.segments.Segments` must do."""

from collections.abc import Mapping, Set
from enum import Enum

from entourage.model.ids import SegmentId, SiteId
from entourage.model.world import Service
from entourage.ports.conformance.kit import Conformance, check, require, require_raises
from entourage.ports.errors import PermanentError, UnsupportedError
from entourage.ports.segments import Segments


class SegmentsConformance(Conformance):
    """The kit for segments. It stretches two segments of `service` that have no gateway, and in the end none."""

    def __init__(self, driver: Segments, *, service: Service, sites: frozenset[SiteId]) -> None:
        """`sites` are two. ValueError if the service has less than two segments without a gateway."""
        inner = [segment.id for segment in service.segments if segment.gateway is None]
        if len(inner) < 2 or len(sites) != 2:
            raise ValueError(f"two sites and two inner segments are needed: {sorted(sites)}, {inner}")
        self.driver = driver
        self.service = service
        self.sites = sites
        self.inner = inner
        self.one, self.other = inner[:2]

    def can(self) -> Set[Enum]:
        """Segments have no capabilities: there is nothing that a driver may leave out."""
        return frozenset()

    async def clear(self) -> None:
        """Nothing stretched."""
        for segment in self.inner:
            await self.driver.unstretch(self.service, segment)

    @check()
    async def nothing_is_stretched_at_first(self) -> None:
        await self._see({})

    @check()
    async def stretch_joins_the_sites_twice_the_same(self) -> None:
        for _ in range(2):
            await self.driver.stretch(self.service, self.one, self.sites)
            await self._see({self.one: self.sites})

    @check()
    async def unstretch_separates_them_twice_the_same(self) -> None:
        await self.driver.stretch(self.service, self.one, self.sites)
        for _ in range(2):
            await self.driver.unstretch(self.service, self.one)
            await self._see({})

    @check()
    async def a_segment_stretches_without_the_others(self) -> None:
        await self.driver.stretch(self.service, self.one, self.sites)
        await self.driver.stretch(self.service, self.other, self.sites)
        await self.driver.unstretch(self.service, self.one)
        await self._see({self.other: self.sites})

    @check()
    async def the_ingress_segment_is_never_stretched(self) -> None:
        stretch = self.driver.stretch(self.service, self.service.ingress_segment().id, self.sites)
        await require_raises(UnsupportedError, stretch, words="stretch of the segment with the gateway")
        await self._see({})

    @check()
    async def a_site_that_is_not_there_is_refused(self) -> None:
        nowhere = SiteId("-".join((*sorted(self.sites), "and-nowhere")))
        stretch = self.driver.stretch(self.service, self.one, self.sites | {nowhere})
        await require_raises(PermanentError, stretch, words="stretch to a site that is not there")
        await self._see({})

    async def _see(self, wanted: Mapping[SegmentId, frozenset[SiteId]]) -> None:
        seen = await self.driver.observe(self.service)
        require(dict(seen) == dict(wanted), f"stretched are {dict(seen)}, not {dict(wanted)}")
