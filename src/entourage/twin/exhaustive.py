"""Every schedule of a small group with one fault: each kind, at each call that the move makes.

The world changes only when a call arrives, and the orchestrator only when it is answered, so the moments to try are
three for each call: before it is sent, on its way or just carried out, and just before its answer. Beyond one fault,
groups of one and two members are killed twice: at each call, and at each call of the recovery.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from entourage.engine.mover import GroupMover
from entourage.twin.faults import CALL_FAULTS, Fault, FaultKind
from entourage.twin.scenario import plain_scenario
from entourage.twin.simulation import Run, Simulation

_SENT_S, _DONE_S = 0.001, 0.003  # after a call is made: it is on its way; it is carried out and not answered yet
_SHORT_S, _LONG_S, _VERY_LONG_S = 1.6, 8.0, 40.0
_TWICE_KILLED = 2  # members at the most
_STUBBORN_CALLS = 40
_RECOVERY_CALLS = 14  # in a recovery, and so many for each member more


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A group of so many members, and what befalls it."""

    members: int
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return f"{self.members} members, {'; '.join(map(str, self.faults)) or 'no fault'}"


def run_schedule(schedule: Schedule, *, mover: type[GroupMover] = GroupMover) -> Run:
    """The run of that schedule, always the same."""
    return Simulation(plain_scenario(schedule.members), schedule.faults, Random(0), mover=mover).run()  # noqa: S311 - the seed is the point


def schedules(most: int, *, least: int = 1) -> Iterator[Schedule]:
    """Every schedule of `least` to `most` members."""
    for members in range(least, most + 1):
        undisturbed = Schedule(members=members, faults=())
        yield undisturbed
        calls = run_schedule(undisturbed).calls
        for call in range(calls):
            for fault in _faults_at(call, members):
                yield Schedule(members=members, faults=(fault,))
            for kind in (FaultKind.LINK_CUT, FaultKind.CALL_LATE):
                hurried = Fault(kind=FaultKind.GUARD_FAST, call=0)
                slow = Fault(kind=kind, call=call, for_s=_SHORT_S)
                yield Schedule(members=members, faults=(hurried, slow))
            refused = Fault(kind=FaultKind.CALL_REFUSED, call=call)
            for before in (1, 2):
                unknown = Fault(
                    kind=FaultKind.JOURNAL_UNKNOWN, call=max(0, call - before), which=1
                )  # written, not told
                yield Schedule(members=members, faults=(unknown, refused))
            # A failure, and then nothing of what is done about it.
            yield Schedule(members=members, faults=(replace(refused, calls=_STUBBORN_CALLS),))
        if members <= _TWICE_KILLED:
            for call in range(calls):
                for again in range(_RECOVERY_CALLS * (members + 1)):
                    first = Fault(kind=FaultKind.ORCHESTRATOR_KILLED, call=call, after_s=_SENT_S)
                    second = Fault(kind=FaultKind.KILLED_IN_RECOVERY, call=again, after_s=_SENT_S)
                    yield Schedule(members=members, faults=(first, second))


def _faults_at(call: int, members: int) -> Iterator[Fault]:
    for kind in FaultKind:
        match kind:
            case FaultKind.ORCHESTRATOR_KILLED | FaultKind.ABORT | FaultKind.SECOND_ORCHESTRATOR:
                yield from (Fault(kind=kind, call=call, after_s=after_s) for after_s in (0.0, _SENT_S, _DONE_S))
            case FaultKind.KILLED_IN_RECOVERY:
                pass  # needs another one first
            case FaultKind.SOURCE_VM_KILLED | FaultKind.TARGET_VM_KILLED:
                for which in range(members):
                    yield Fault(kind=kind, call=call, which=which)
                    yield Fault(kind=kind, call=call, which=which, after_s=_DONE_S)
            case FaultKind.JOURNAL_UNKNOWN | FaultKind.BGP_DOWN:
                yield from (Fault(kind=kind, call=call, which=which, for_s=_LONG_S) for which in range(2))
            case FaultKind.LINK_CUT | FaultKind.LINK_SLOW | FaultKind.JOURNAL_DOWN | FaultKind.GUARD_KILLED:
                yield from (Fault(kind=kind, call=call, for_s=for_s) for for_s in (_LONG_S, _VERY_LONG_S))
            case _:
                assert kind in CALL_FAULTS or kind in (FaultKind.GUARD_FAST, FaultKind.GUARD_SLOW)
                yield Fault(kind=kind, call=call, for_s=_LONG_S)
