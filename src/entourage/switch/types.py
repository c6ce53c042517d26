"""States, events and commands of the group switch. A state holds only what is known in it.

The protocol (design 0003): prepare and copy while everything runs; hold all; stop all; drain; record the commit;
resume all and flip the route; verify; clean up. Before the record an abort puts everything back, after it there is
only forward.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from entourage.model.ids import HostId, MemberId, SegmentId, SiteId


class ProtocolError(Exception):
    """An event that the state does not know: a fault in whoever drives the switch, never a state of the world."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How the joint refreshing shares the link, and when it ends and the switch begins."""

    link_rate: float  # bytes/s that all members together may use for it
    enough_bytes: int  # all members together have at most this left: little enough to stop for
    max_rounds: int = 8  # refreshes at the most
    most_bytes: float = math.inf  # left after them: too much to stop for, the group goes back
    most_s: float = math.inf  # so would be a rest that takes longer than this, as the link was seen
    waits: bool = False  # once all are held: for somebody's approval


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Who moves, from where to where, and what has to move with them. `order` is the order of copying."""

    order: tuple[MemberId, ...]
    sources: Mapping[MemberId, HostId]
    targets: Mapping[MemberId, HostId]
    source_site: SiteId
    target_site: SiteId
    moves_ingress: bool
    stretch: tuple[SegmentId, ...] = ()  # to be joined before the switch: a part of the chain stays behind
    unstretch: tuple[SegmentId, ...] = ()  # joined now, and not needed any more after the switch
    policy: Policy

    def members(self) -> frozenset[MemberId]:
        """All members that move."""
        return frozenset(self.order)


# --- events: what has happened ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepared:
    """The member's target instance waits for state."""

    member: MemberId


@dataclass(frozen=True, slots=True)
class PathReady:
    """Segments that need it are stretched, and the ingress is staged at the target (as far as the group needs it)."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What the switch cannot do without is there: the route at the target, and storage for the commit record."""


@dataclass(frozen=True, slots=True)
class Armed:
    """The guards of all sources are armed."""


@dataclass(frozen=True, slots=True)
class Disarmed:
    """No guard acts any more. `run_again`: the members that one has run again at the source since it was armed."""

    run_again: frozenset[MemberId] = frozenset()


@dataclass(frozen=True, slots=True)
class Held:
    """A pass is over and the member is held with `left` bytes to send, which take `takes_s` as the link was seen.

    0: nothing was seen to hold the stream back.
    """

    member: MemberId
    left: int
    takes_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Approved:
    """Somebody wants a move that waits to go on."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The member's CPUs at the source stand still since `at` (seconds since the epoch), told to or by itself."""

    member: MemberId
    at: float


@dataclass(frozen=True, slots=True)
class Drained:
    """The target has all of the member, and is paused. `copied` bytes went over the link in all."""

    member: MemberId
    copied: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """The commit is on stable storage."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The member runs since `at` (seconds since the epoch): at the target, or in an undo at the source."""

    member: MemberId
    at: float


@dataclass(frozen=True, slots=True)
class Lost:
    """After the commit the member's target is not there any more, or cannot run: there is nothing left to resume."""

    member: MemberId
    reason: str


@dataclass(frozen=True, slots=True)
class IngressFlipped:
    """The target is preferred."""


@dataclass(frozen=True, slots=True)
class NotFlipped:
    """The target could not be made the preferred one, however often it was tried."""

    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The chain was tried at the target; `problems` is empty if it works."""

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Sources, old routes, tunnels and segments that nobody needs are gone."""


@dataclass(frozen=True, slots=True)
class Undone:
    """Everything is as it was before the move."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A command could not be carried out: which, of whom, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class AbortRequested:
    """Somebody wants the move not to happen."""

    reason: str


Event = (
    Prepared | PathReady | Armed | Ready | Held | Approved | Stopped | Drained | Disarmed | Recorded | Resumed | Lost
    | IngressFlipped | NotFlipped | Verified | Cleaned | Undone | Failed | AbortRequested
)  # fmt: skip


# --- commands: what is to be done ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the member's target instance. Answered by Prepared."""

    member: MemberId
    host: HostId


@dataclass(frozen=True, slots=True)
class PreparePath:
    """Stretch segments and stage the ingress, as the group needs it. Answered by PathReady."""


@dataclass(frozen=True, slots=True)
class CheckReady:
    """See that the target's edge still announces and the provider hears it, and that the record can be written.

    What is found out before anybody stands still costs the users nothing. Answered by Ready.
    """


@dataclass(frozen=True, slots=True)
class Arm:
    """From now on nobody stands still for long, even if the orchestrator dies. Answered by Armed."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy the member once and hold it. Answered by Held."""

    member: MemberId


@dataclass(frozen=True, slots=True)
class Refresh:
    """One more pass for a held member, at `pace` bytes/s, then hold. Answered by Held."""

    member: MemberId
    pace: float


@dataclass(frozen=True, slots=True)
class Repace:
    """Go on with the member's refresh at `pace` bytes/s: others have ended theirs. No answer: it may be too late."""

    member: MemberId
    pace: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the member at the source, now. Answered by Stopped."""

    member: MemberId


@dataclass(frozen=True, slots=True)
class RedirectIngress:
    """Let the source's edge send to the target's edge what reaches it. No answer: nothing waits for it."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Send all that is left of the stopped member. Answered by Drained."""

    member: MemberId


@dataclass(frozen=True, slots=True)
class Disarm:
    """The guards must not act any more: a target is about to run. Answered by Disarmed."""


@dataclass(frozen=True, slots=True)
class RecordCommit:
    """Write the commit record. Answered by Recorded."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Let the member's target run. Answered by Resumed."""

    member: MemberId
    host: HostId


@dataclass(frozen=True, slots=True)
class FlipIngress:
    """Make the target's route the preferred one. Answered by IngressFlipped or NotFlipped."""


@dataclass(frozen=True, slots=True)
class Verify:
    """Try the chain at the target. Answered by Verified."""


@dataclass(frozen=True, slots=True)
class CleanUp:
    """Remove sources, then withdraw the old route when it is quiet, then the tunnel. Answered by Cleaned.

    `keep`: whose targets are lost. What stands still at the source is the last that there is of them, and stays.
    `keep_ingress`: users still enter at the source; its route and its tunnel to the target stay.
    """

    keep: frozenset[MemberId] = frozenset()
    keep_ingress: bool = False


@dataclass(frozen=True, slots=True)
class Undo:
    """Put everything back: every source runs, whatever came of stopping it; then all traces go. Answered by Undone."""


Command = (
    Prepare | PreparePath | CheckReady | Arm | Copy | Refresh | Repace | Stop | RedirectIngress | Drain | Disarm
    | RecordCommit | Resume | FlipIngress | Verify | CleanUp | Undo
)  # fmt: skip


# --- states -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparing:
    """Targets and path are being made ready; everything runs at the source."""

    group: Group
    prepared: frozenset[MemberId] = frozenset()
    path_ready: bool = False
    armed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying:
    """One member after another is copied and held; everything runs at the source."""

    group: Group
    held: Mapping[MemberId, int]  # bytes left


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """All are held, and somebody has to approve. Everything runs at the source; leaving costs the users nothing."""

    group: Group
    left: Mapping[MemberId, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Converging:
    """All are held; joint refreshes make what is left small. Everything runs at the source.

    Nobody is stopped before it was seen that the switch can be ended: `is_ready`.
    """

    group: Group
    is_ready: bool
    round: int
    refreshing: frozenset[MemberId]
    left: Mapping[MemberId, int]
    takes_s: Mapping[MemberId, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """All are told to stop."""

    group: Group
    stopped: Mapping[MemberId, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining:
    """All stand still at the source; what is left is sent."""

    group: Group
    stopped: Mapping[MemberId, float]
    drained: Mapping[MemberId, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disarming:
    """All targets are whole and paused; the guards are told not to run a source any more."""

    group: Group
    stopped: Mapping[MemberId, float]
    drained: Mapping[MemberId, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Committing:
    """No guard acts any more; the record is being written. The last state from which there is a way back."""

    group: Group
    stopped: Mapping[MemberId, float]
    drained: Mapping[MemberId, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resuming:
    """Committed: targets are started and the route flips. Only forward from here.

    After a crash `stopped` and `drained` are not known any more, and empty.
    """

    group: Group
    stopped: Mapping[MemberId, float]
    drained: Mapping[MemberId, int]
    resumed: Mapping[MemberId, float]
    flipped: bool
    unflipped: str | None = None  # why the route could not be flipped, when that was given up
    lost: Mapping[MemberId, str] = field(default_factory=dict)  # why


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifying:
    """All run at the target, but for the `lost` (why); the chain is tried. `unflipped`: as in Resuming."""

    group: Group
    times: "SwitchTimes"
    unflipped: str | None = None
    lost: Mapping[MemberId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """What the source does not need any more is removed. `unverified`: what the verification found."""

    group: Group
    times: "SwitchTimes"
    problems: tuple[str, ...]
    unverified: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """All at the target, nothing left over. `problems`: what the verification or the cleaning found.

    `unverified`: those of the verification alone. What runs at the target does not serve, or not everybody.
    """

    group: Group
    times: "SwitchTimes"
    problems: tuple[str, ...]
    unverified: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoing:
    """Everything is put back to the source."""

    group: Group
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """All at the source, as before. `problems`: what could not be put back."""

    group: Group
    reason: str
    problems: tuple[str, ...] = ()


State = (
    Preparing | Copying | Waiting | Converging | Stopping | Draining | Disarming | Committing | Resuming | Verifying
    | Cleaning | Done | Undoing | RolledBack
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchTimes:
    """When each member stood still at the source and ran at the target (seconds since the epoch), and its bytes.

    After a crash `stopped` and `copied` are not known any more, and empty.
    """

    stopped: Mapping[MemberId, float]
    resumed: Mapping[MemberId, float]
    copied: Mapping[MemberId, int]
