"""Where a switch begins, or begins again after a crash, and what must hold in every state."""

from collections.abc import Mapping

from entourage.model.ids import MemberId
from entourage.switch.types import (
    Arm,
    Command,
    Committing,
    Converging,
    Copying,
    Disarming,
    Draining,
    FlipIngress,
    Group,
    Prepare,
    PreparePath,
    Preparing,
    ProtocolError,
    Resume,
    Resuming,
    State,
    Stopping,
    Undo,
    Undoing,
    Waiting,
)


def begin(group: Group) -> tuple[State, tuple[Command, ...]]:
    """The first state and its commands. ProtocolError if the group is empty or its hosts are not told."""
    _require_sound(group)
    prepares = tuple(Prepare(member, group.targets[member]) for member in group.order)
    return Preparing(group=group), (*prepares, PreparePath(), Arm())


def begin_back(group: Group, reason: str) -> tuple[State, tuple[Command, ...]]:
    """After a crash before the commit: everything is put back to the source, however far it was."""
    _require_sound(group)
    return Undoing(group=group, reason=reason), (Undo(),)


def begin_forward(group: Group) -> tuple[State, tuple[Command, ...]]:
    """After a crash past the commit: the targets are resumed, those too that run already."""
    _require_sound(group)
    return go_forward(group, stopped={}, drained={})


def go_forward(
    group: Group, *, stopped: Mapping[MemberId, float], drained: Mapping[MemberId, int]
) -> tuple[State, tuple[Command, ...]]:
    """What follows the commit record."""
    commands: tuple[Command, ...] = tuple(Resume(m, group.targets[m]) for m in group.order)
    if group.moves_ingress:
        commands = (*commands, FlipIngress())
    flipped = not group.moves_ingress
    return Resuming(group=group, stopped=stopped, drained=drained, resumed={}, flipped=flipped), commands


def _require_sound(group: Group) -> None:
    members = group.members()
    if not members or len(members) != len(group.order):
        raise ProtocolError(f"a group needs members, each once: {group.order}")
    if set(group.sources) != members or set(group.targets) != members:
        raise ProtocolError(f"sources and targets must name just the members {sorted(members)}")
    if any(group.sources[m] == group.targets[m] for m in members):
        raise ProtocolError("a member's source and target are the same host")


def check(state: State) -> None:
    """The group's invariants; ProtocolError names the one that is broken.

    They say who may run where: nobody at the target before the commit, and the commit only when every member stands
    still at the source and is whole at the target.
    """
    members = state.group.members()
    match state:
        case Preparing(prepared=known):
            _require(known <= members, "only members are prepared")
        case Copying(held=held):
            _require(set(held) <= members, "only members are held")
        case Waiting(left=left):
            _require(set(left) == members, "every member is held")
        case Converging(refreshing=refreshing, left=left):
            _require(refreshing | set(left) == members, "every member is held or refreshing")
        case Stopping(stopped=stopped):
            _require(set(stopped) < members, "not all are stopped yet")
        case Draining(stopped=stopped, drained=drained):
            _require(set(stopped) == members, "all are stopped before anything is drained")
            _require(set(drained) < members, "not all are drained yet")
        case Disarming(stopped=stopped, drained=drained) | Committing(stopped=stopped, drained=drained):
            _require(set(stopped) == members == set(drained), "all are stopped and drained before the commit")
        case Resuming(stopped=stopped, drained=drained, resumed=resumed, lost=lost):
            nothing_known = not stopped and not drained  # after a crash: the record says that it was so
            _require(
                nothing_known or set(stopped) == members == set(drained), "all stand still and whole before one runs"
            )
            _require(set(resumed) | set(lost) <= members, "only members run, or are lost")
        case _:
            pass


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ProtocolError(f"invariant broken: {what}")
