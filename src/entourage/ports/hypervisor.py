"""What Entourage asks of a hypervisor, one member at a time.

A member's copy at the source runs until `commit`; the one at the target exists, waiting, from `prepare` on and
runs only when `resume` asks for it. Every method names the host, may be called twice, and raises
`entourage.ports.errors.DriverError`s.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from entourage.model.ids import HostId, MemberId
from entourage.model.realtime import Reservation
from entourage.model.world import Member


class Capability(Enum):
    """What a driver can do with a member; what is not listed it cannot, and the planner says what that costs."""

    MIGRATE = "migrate"  # the hypervisor's own live migration, pausing and resuming when it sees fit
    HOLD = "hold"  # a copy that is nearly complete can be kept so while the member runs
    ALIGNED_STOP = "aligned_stop"  # a member can be stopped at a chosen moment in the middle of its copy
    COMPLETE_PAUSED = "complete_paused"  # a completed target stays paused until it is told to run
    MIRROR_DISK = "mirror_disk"  # a member's own disk goes with it, and is switched with its memory
    ENCRYPTED = "encrypted"  # what is copied is encrypted on its way, and both ends have proved who they are
    REALTIME = "realtime"  # a member's copy has the CPU time that it is promised before it runs, or there is none
    ABORT_AFTER_DRAIN = "abort_after_drain"  # the source can run again although its state was handed over whole


class RunState(Enum):
    """The state of one copy of a member on one host, as the hypervisor says it is now."""

    ABSENT = "absent"  # nothing there
    RUNNING = "running"
    PAUSED = "paused"  # all its state is here and its CPUs stand still
    INCOMING = "incoming"  # waiting for state, or receiving it: cannot run
    FAILED = "failed"  # there, and neither running nor able to


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyProgress:
    """How far a member's copy is: bytes sent so far, bytes of memory left, rate in bit/s, passes over its memory."""

    member: MemberId
    copied: int
    left: int
    rate: float
    passes: int
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRound:
    """One pass of pre-copy is over. `stopped_at` is set if the member found nothing left and stopped by itself."""

    left: int  # bytes that the rest will take in the stream, as far as can be told
    takes_s: float = 0.0  # how long, by what the link was seen to carry; 0 if nothing was seen to hold the stream back
    stopped_at: float | None = None  # seconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """The outcome of the hypervisor's own migration. Times in seconds since the epoch."""

    paused_at: float
    resumed_at: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromisedThread:
    """A thread that is promised real-time CPU, and what its host's kernel says of it now.

    `wanted`, `found`: how it is to be scheduled, and is, in the kernel's terms; `found` None if the thread has ended.
    `ran_us`, `waited_us`: since it began, on a CPU and for one. `instead`: why it is not by the host's first policy.
    """

    name: str
    promise: Reservation
    wanted: str
    found: str | None
    is_kept: bool
    ran_us: int
    waited_us: int
    instead: str | None = None


ProgressCallback = Callable[[CopyProgress], None]


class Hypervisor(Protocol):
    """A driver for all hosts of one kind of hypervisor."""

    @property
    def name(self) -> str:
        """The driver's name, as plans and reports show it."""
        ...

    def capabilities(self) -> frozenset[Capability]:
        """What this driver can do, as data."""
        ...

    async def look(self, member: MemberId, host: HostId) -> RunState:
        """What is there now, asked of the hypervisor."""
        ...

    async def in_use(self, member: Member, host: HostId) -> int | None:
        """Roughly the bytes of its memory that are not empty, which a copy has to carry; None if it cannot be told."""
        ...

    async def create(self, member: Member, host: HostId, *, disk: Path | None = None) -> None:
        """Boot `member` on `host`; nothing happens if it runs there already. It has what it is promised after `resume`.

        Its disk is empty, or has the content of the file `disk`, which is the driver's from then on.
        PermanentError, and no copy, if the host cannot keep what the member is promised; so has `prepare`.
        """
        ...

    async def prepare(self, member: Member, host: HostId, *, autostart: bool = False) -> None:
        """Make the target's copy: same identity, INCOMING. PermanentError if another copy is there.

        With `autostart` it runs by itself as soon as it is whole, as `migrate` needs it; else only on `resume`.
        """
        ...

    async def promises(self, host: HostId) -> Mapping[MemberId, Sequence[PromisedThread]]:
        """The members on the host that are promised real-time CPU; PermanentError if it cannot keep all at once."""
        ...

    async def copy(self, member: Member, *, source: HostId, target: HostId, progress: ProgressCallback) -> CopyRound:
        """Copy all memory once while the member runs, and hold: returns when the first pass is over."""
        ...

    async def refresh(self, member: Member, *, source: HostId, pace: float) -> CopyRound:
        """Send what was dirtied since the last pass, at `pace` bytes/s or somewhat less, and hold after one more."""
        ...

    async def repace(self, member: Member, *, source: HostId, pace: float) -> None:
        """Let a refresh under way go on at `pace` bytes/s; nothing happens to a member that is held or stopped."""
        ...

    async def stopped(self, member: Member, *, source: HostId) -> float:
        """Wait until the member under copy stands still at the source, for whatever reason; the time of it."""
        ...

    async def stop(self, member: Member, *, source: HostId) -> float:
        """Stop the member's CPUs now; returns when they stand still, with the hypervisor's own time of it."""
        ...

    async def drain(self, member: Member, *, source: HostId, target: HostId) -> int:
        """After `stop`: send all that is left. Returns when the target is whole and PAUSED, with the bytes copied."""
        ...

    async def resume(self, member: Member, host: HostId) -> float:
        """Let the copy on `host` run with what it is promised, and announce it to its segments; the time of it."""
        ...

    async def abandon(self, member: Member, *, source: HostId) -> None:
        """End a copy that is not to be completed, however far it is; the source keeps its run state.

        Only a source that stopped by itself at the end of a pass may run again by itself.
        """
        ...

    async def remove(self, member: MemberId, host: HostId) -> None:
        """Take the copy on `host` away, whatever its state, with all that belongs to it."""
        ...

    async def migrate(self, member: Member, *, source: HostId, target: HostId, progress: ProgressCallback) -> Migrated:
        """The hypervisor's own live migration to a prepared target, which runs by itself at the end."""
        ...
