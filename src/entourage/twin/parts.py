"""What the simulated world is made of: copies of members, streams between them, guards, and the scenario of one run."""

import math
from asyncio import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from entourage.model.ids import HostId, MemberId, RegionId, SegmentId, SiteId
from entourage.model.world import Service
from entourage.ports.hypervisor import ProgressCallback, RunState
from entourage.switch import Group

if TYPE_CHECKING:
    from entourage.twin.world import Client


@dataclass(slots=True)
class Copy:
    """One copy of a member on one host.

    `version` counts how often this state was let run: a target may run only with the version that its source has.
    """

    member: MemberId
    host: HostId
    state: RunState
    memory: int
    dirty_rate: float  # bytes/s
    version: int = 0
    is_listening: bool = False
    stream: "Stream | None" = None
    paused_at: float | None = None
    resumed_at: float | None = None


@dataclass(slots=True)
class Stream:
    """A member's state on its way. Bytes, bytes/s, virtual seconds. It ends with the process that carries it."""

    client: "Client"
    source: Copy
    target: Copy
    left: float
    progress: ProgressCallback | None = None
    copied: float = 0.0
    passes: int = 0
    pace: float = math.inf  # what it was told; `rate` is what it gets
    rate: float = 0.0
    is_moving: bool = False
    is_draining: bool = False
    is_whole: bool = False
    is_broken: bool = False
    stopped_by_itself: bool = False
    pass_began: float = 0.0
    since: float = 0.0  # up to when `left` is counted
    generation: int = 0  # of the timer that ends the pass
    waiters: "list[Future[None]]" = field(default_factory=list)  # for the end of the pass, or of the stream
    stop_waiters: "list[Future[None]]" = field(default_factory=list)


@dataclass(slots=True)
class HostGuard:
    """The guard process of one host. `rate`: how many seconds its clock counts in one; `armed`: by whom, until when."""

    host: HostId
    rate: float = 1.0
    is_alive: bool = True
    was_killed: bool = False
    armed: "dict[MemberId, tuple[Client, float]]" = field(default_factory=dict)
    known: set[MemberId] = field(default_factory=set)  # armed since this process runs
    run_again: set[MemberId] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All that is decided before a run begins, but for its faults. Seconds, bytes/s."""

    service: Service
    group: Group
    hosts: tuple[HostId, ...]
    regions: dict[RegionId, SiteId]
    stretched: dict[SegmentId, frozenset[SiteId]]
    link_rate: float
    dirty_rates: dict[MemberId, float]
    latency_s: float  # of a call, there and back, on the average
    latency_spread: float  # 0: every call takes just as long
    restart_s: float  # until an orchestrator that died is started again
    link_carries_control: bool  # the orchestrator reaches the target only over the inter-site link
    shuffles: bool  # what is ready at the same moment runs in any order
