"""What can go wrong, and when: a fault begins some time after a call, counted over the whole run."""

from dataclasses import dataclass
from enum import Enum
from random import Random

from entourage.twin.parts import Scenario


class FaultKind(Enum):
    """One kind of misfortune each."""

    ORCHESTRATOR_KILLED = "orchestrator-killed"  # and started again after a while
    KILLED_IN_RECOVERY = "killed-in-recovery"  # counted in calls of the recovery
    SOURCE_VM_KILLED = "source-vm-killed"
    TARGET_VM_KILLED = "target-vm-killed"
    CALL_BUSY = "call-busy"  # refused for now, nothing happened
    CALL_REFUSED = "call-refused"  # refused for good, nothing happened
    CALL_CRASHES = "call-crashes"  # an error that no driver should raise, nothing happened
    CALL_LOST = "call-lost"  # never arrives, never answered
    CALL_SILENT = "call-silent"  # done, never answered
    CALL_UNKNOWN = "call-unknown"  # done, and reported as unknown
    CALL_LATE = "call-late"  # whom it asks does nothing for a while, then everything in order
    LINK_CUT = "link-cut"
    LINK_SLOW = "link-slow"
    JOURNAL_UNKNOWN = "journal-unknown"  # the next entry is written or not, and an error is told
    JOURNAL_DOWN = "journal-down"  # for a while
    BGP_DOWN = "bgp-down"  # one site's session with the provider, for a while
    GUARD_KILLED = "guard-killed"  # and started again after a while, knowing nothing
    GUARD_FAST = "guard-fast"  # its clock
    GUARD_SLOW = "guard-slow"  # its clock
    SECOND_ORCHESTRATOR = "second-orchestrator"  # somebody wants to recover what is still alive
    ABORT = "abort"  # somebody asks for the move not to happen


CALL_FAULTS = frozenset({
    FaultKind.CALL_BUSY, FaultKind.CALL_REFUSED, FaultKind.CALL_CRASHES, FaultKind.CALL_LOST, FaultKind.CALL_SILENT,
    FaultKind.CALL_UNKNOWN, FaultKind.CALL_LATE,
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`kind` begins `after_s` seconds after call number `call` (from 0), and lasts `for_s` if it is one that lasts.

    `which` chooses the victim among those there are; `calls` is how many calls a call's fault strikes.
    """

    kind: FaultKind
    call: int
    after_s: float = 0.0
    for_s: float = 5.0
    which: int = 0
    calls: int = 1

    def __str__(self) -> str:
        lasting = f" for {self.for_s:.3f} s" if self.kind in LASTING else ""
        times = f", {self.calls} calls" if self.calls > 1 else ""
        return f"{self.kind.value} {self.after_s * 1e3:.3f} ms after call {self.call}{lasting}{times} #{self.which}"


LASTING = frozenset({
    FaultKind.CALL_LATE, FaultKind.LINK_CUT, FaultKind.LINK_SLOW, FaultKind.JOURNAL_DOWN, FaultKind.BGP_DOWN,
    FaultKind.GUARD_KILLED,
})  # fmt: skip

_KINDS = tuple(FaultKind)
_SLOWING = frozenset({FaultKind.LINK_CUT, FaultKind.LINK_SLOW, FaultKind.CALL_LATE})
_HURRIED = 0.5


def draw_faults(chance: Random, scenario: Scenario) -> tuple[Fault, ...]:
    """None to three faults, most of them near one another: what hurts is a fault in the handling of another."""
    # About as many calls as an undisturbed run of the group makes.
    calls = 24 + 20 * len(scenario.group.order)
    found = []
    near = chance.randrange(calls)
    for _ in range(chance.choices((0, 1, 2, 3), weights=(1, 4, 5, 4))[0]):
        kind = chance.choice(_KINDS)
        if kind is FaultKind.KILLED_IN_RECOVERY:
            # It needs a first death; what is killed is the recovery from it.
            found.append(_fault(chance, FaultKind.ORCHESTRATOR_KILLED, near, scenario))
            found.append(_fault(chance, kind, chance.randrange(2 + 8 * len(scenario.group.order)), scenario))
            continue
        if kind in _SLOWING and chance.random() < _HURRIED:
            # Who takes long meets a guard that is in a hurry: only then does one ever act on a living orchestrator.
            found.append(_fault(chance, FaultKind.GUARD_FAST, 0, scenario))
        call = near + chance.randrange(-3, 20) if chance.random() < 0.5 else chance.randrange(calls)
        found.append(_fault(chance, kind, max(0, call), scenario))
    return tuple(found)


def _fault(chance: Random, kind: FaultKind, call: int, scenario: Scenario) -> Fault:
    return Fault(
        kind=kind,
        call=call,
        after_s=chance.choice((0.0, chance.random() * 2 * scenario.latency_s, chance.random() * 3)),
        for_s=chance.choice((0.1, 1.0, 4.0, 8.0, 12.0, 40.0)) * (0.5 + chance.random()),
        which=chance.randrange(16),
        calls=chance.choice((1, 1, 2, 4, 8)),
    )
