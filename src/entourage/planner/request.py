"""What a planner is asked, and what it is told of the hosts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from entourage.model.ids import MemberId, ServiceId, SiteId
from entourage.model.realtime import Promise
from entourage.model.world import FailedTarget


class Strategy(Enum):
    """How the members of a move are coordinated."""

    GROUP = "group"  # copy and hold one after another, then switch all at once, with one commit point
    SERIAL = "serial"  # the hypervisor's own migration, one member after another
    PARALLEL = "parallel"  # the hypervisor's own migration, all members at once, uncoordinated


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRequest:
    """Move `members` of `service` (None: all of them) to the site `target`.

    `strategy` None leaves the choice to the planner; one that is asked for is taken or refused, never replaced.
    """

    service: ServiceId
    target: SiteId
    members: frozenset[MemberId] | None = None
    strategy: Strategy | None = None
    waits: bool = False  # once all is copied and held: for somebody's approval
    if_unverified: FailedTarget | None = None  # None: as the service has it


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoad:
    """What is in use on a host now, by whatever runs there: `memory` in bytes, `cpu` in cores.

    `promised`: the real-time CPU that whoever runs there was promised.
    """

    memory: int
    cpu: float
    promised: Mapping[MemberId, Promise] = field(default_factory=dict)
