"""Seeing the users' packets at the sites' edges, and the service itself, from outside of it."""

from dataclasses import dataclass
from typing import Protocol

from entourage.model.ids import SiteId
from entourage.model.world import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeTraffic:
    """Packets for a service's address that one edge has handed on since the watch began. Seconds since the epoch."""

    count: int
    first: float | None
    last: float | None


class TrafficWatch(Protocol):
    """Watches every site's edge, from `start` on."""

    async def start(self, service: Service) -> None:
        """Begin, or begin anew: counts are zero."""
        ...

    async def seen(self, site: SiteId) -> EdgeTraffic:
        """What the site's edge has handed to the service's first member or to the tunnel."""
        ...

    async def wait_quiet(self, site: SiteId, *, quiet_s: float, deadline_s: float) -> bool:
        """Until nothing arrived at the site's edge for `quiet_s`; False if that was not so within `deadline_s`."""
        ...

    async def stop(self) -> None:
        """Watch no more."""
        ...


class Verifier(Protocol):
    """Tries a service as its users do."""

    async def problems(self, service: Service) -> tuple[str, ...]:
        """What is wrong with it now; empty if requests are answered through the whole chain and all guests live."""
        ...
