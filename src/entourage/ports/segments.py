"""The service's layer-2 segments at the sites, and stretching them between sites when a move is not a whole group."""

from collections.abc import Mapping
from typing import Protocol

from entourage.model.ids import SegmentId, SiteId
from entourage.model.world import Service


class Segments(Protocol):
    """A driver for segments. The ingress segment (the one with a gateway) is never stretched:

    its gateway has the same address and MAC at every site.
    """

    async def observe(self, service: Service) -> Mapping[SegmentId, frozenset[SiteId]]:
        """For each stretched segment the sites that it joins now; segments local to their sites are absent."""
        ...

    async def stretch(self, service: Service, segment: SegmentId, sites: frozenset[SiteId]) -> None:
        """Join the segment of all `sites` into one broadcast domain. May be asked for twice."""
        ...

    async def unstretch(self, service: Service, segment: SegmentId) -> None:
        """Separate the sites again and forget what was learned of the other side. May be asked for twice."""
        ...
