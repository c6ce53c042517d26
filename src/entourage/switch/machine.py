"""Where a switch begins, and what must hold in every state."""

from entourage.switch.types import (
    Command,
    Committing,
    Converging,
    Copying,
    Draining,
    Group,
    Prepare,
    PreparePath,
    Preparing,
    ProtocolError,
    Resuming,
    State,
    Stopping,
)


def begin(group: Group) -> tuple[State, tuple[Command, ...]]:
    """The first state and its commands. ProtocolError if the group is empty or its hosts are not told."""
    members = group.members()
    if not members or len(members) != len(group.order):
        raise ProtocolError(f"a group needs members, each once: {group.order}")
    if set(group.sources) != members or set(group.targets) != members:
        raise ProtocolError(f"sources and targets must name just the members {sorted(members)}")
    if any(group.sources[m] == group.targets[m] for m in members):
        raise ProtocolError("a member's source and target are the same host")
    prepares = tuple(Prepare(member, group.targets[member]) for member in group.order)
    return Preparing(group=group), (*prepares, PreparePath())


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
        case Converging(refreshing=refreshing, left=left):
            _require(refreshing | set(left) == members, "every member is held or refreshing")
        case Stopping(stopped=stopped):
            _require(set(stopped) < members, "not all are stopped yet")
        case Draining(stopped=stopped, drained=drained):
            _require(set(stopped) == members, "all are stopped before anything is drained")
            _require(set(drained) < members, "not all are drained yet")
        case Committing(stopped=stopped, drained=drained):
            _require(set(stopped) == members == set(drained), "all are stopped and drained before the commit")
        case Resuming(stopped=stopped, drained=drained, resumed=resumed):
            _require(set(stopped) == members == set(drained), "all are stopped and drained before one runs")
            _require(set(resumed) <= members, "only members run")
        case _:
            pass


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ProtocolError(f"invariant broken: {what}")
