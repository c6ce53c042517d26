"""Where packets for a service's prefix enter, and how that is changed while they flow.

The life of a switch of ingress: the source is ACTIVE and the target ABSENT; `stage` makes the target STAGED
(announced everywhere, preferred nowhere); `tunnel` makes the source's edge send what still reaches it to the
target's edge; `flip` makes the target preferred; `withdraw` takes the source's announcement away, last.
Every effect can be asked for twice, and undone by asking for the state before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from entourage.model.ids import RegionId, SiteId
from entourage.model.world import Service


class IngressCapability(Enum):
    """What an ingress driver can do; what is not listed it does not do, and says so."""

    STAGE = "stage"  # announce without attracting traffic
    FLIP = "flip"  # change the preferred site by one update
    TUNNEL_LATE = "tunnel-late"  # forward what still arrives at the source
    LEASE = "lease"  # announcements end by themselves when the controller is gone


class Announcement(Enum):
    """How a site's edge announces the service's prefix now."""

    ABSENT = "absent"  # not announced
    STAGED = "staged"  # announced, and less preferred than an active one
    ACTIVE = "active"  # announced at the normal preference
    PREFERRED = "preferred"  # announced above the normal preference: just flipped, the other still there
    UNKNOWN = "unknown"  # the edge does not answer; only ever observed


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressState:
    """What one site's edge does for the service: its announcement, and where it tunnels arriving packets."""

    announcement: Announcement
    tunnel_to: SiteId | None = None


class Ingress(Protocol):
    """A driver for the edge routers of all sites. Methods raise `entourage.ports.errors.DriverError`s."""

    def capabilities(self) -> frozenset[IngressCapability]:
        """What this driver can do, as data."""
        ...

    async def observe(self, service: Service) -> Mapping[SiteId, IngressState]:
        """The state at every site, read from the edges themselves, never from memory; UNKNOWN where one is silent."""
        ...

    async def best_site(self, service: Service) -> Mapping[RegionId, SiteId]:
        """For each region the site at which its packets for the prefix enter now, read from the provider.

        A region of which the provider does not tell is left out.
        """
        ...

    async def activate(self, service: Service, site: SiteId) -> None:
        """Announce at `site` at the normal preference and deliver locally (no tunnel)."""
        ...

    async def stage(self, service: Service, site: SiteId) -> None:
        """Announce at `site`, less preferred than any active announcement; returns when the provider has it."""
        ...

    async def flip(self, service: Service, site: SiteId) -> None:
        """Make `site` preferred over an active announcement elsewhere; returns when the edge has sent it."""
        ...

    async def tunnel(self, service: Service, *, source: SiteId, target: SiteId) -> None:
        """Send what reaches `source`'s edge for the prefix to `target`'s edge, from the return of this call on."""
        ...

    async def untunnel(self, service: Service, *, source: SiteId) -> None:
        """Deliver locally again at `source`: the inverse of `tunnel`."""
        ...

    async def withdraw(self, service: Service, site: SiteId) -> None:
        """Take the announcement at `site` away; the tunnel there stays until `untunnel`."""
        ...
