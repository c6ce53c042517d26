"""What a planner is asked, and what it is told of the hosts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from entourage.model.ids import HostId, MemberId, ServiceId, SiteId, site_of
from entourage.model.realtime import Promise
from entourage.model.world import FailedTarget, Infrastructure, Service


class Strategy(Enum):
    """How the members of a move are coordinated."""

    GROUP = "group"  # copy and hold one after another, then switch all at once, with one commit point
    SERIAL = "serial"  # the hypervisor's own migration, one member after another
    PARALLEL = "parallel"  # the hypervisor's own migration, all members at once, uncoordinated


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRequest:
    """Move `members` of `service` (None: all of them) to the site `target`.

    `onto`: a move within the site instead. Those of the members that are at `target`, but on none of these hosts of it,
    go to them; those at other sites stay there.
    `strategy` None leaves the choice to the planner; one that is asked for is taken or refused, never replaced.
    """

    service: ServiceId
    target: SiteId
    members: frozenset[MemberId] | None = None
    onto: frozenset[HostId] | None = None
    strategy: Strategy | None = None
    waits: bool = False  # once all is copied and held: for somebody's approval
    if_unverified: FailedTarget | None = None  # None: as the service has it


def off_host(
    infrastructure: Infrastructure, service: ServiceId, host: HostId, members: frozenset[MemberId] | None = None
) -> MoveRequest:
    """Move those of the members that are on `host` to other hosts of its site. KeyError if there is no such site."""
    return MoveRequest(service=service, target=site_of(host), members=members, onto=infrastructure.beside(host))


def back_again(
    service: Service, *, sources: Mapping[MemberId, HostId], targets: Mapping[MemberId, HostId]
) -> MoveRequest:
    """A move of `service` from `sources` to `targets` the other way round; within a site to the same hosts again."""
    (source, *_) = {site_of(host) for host in sources.values()}
    is_local = source in map(site_of, targets.values())
    return MoveRequest(
        service=service.id,
        target=source,
        members=None if len(sources) == len(service.members) else frozenset(sources),
        onto=frozenset(sources.values()) if is_local else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoad:
    """What is in use on a host now, by whatever runs there: `memory` in bytes, `cpu` in cores.

    `promised`: the real-time CPU that whoever runs there was promised.
    """

    memory: int
    cpu: float
    promised: Mapping[MemberId, Promise] = field(default_factory=dict)
