"""What follows from what: one function per state, and everything unlisted is an error."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from entourage.model.ids import MemberId
from entourage.switch.machine import check, go_forward
from entourage.switch.types import (
    AbortRequested,
    Approved,
    Armed,
    CheckReady,
    Cleaned,
    Cleaning,
    CleanUp,
    Command,
    Committing,
    Converging,
    Copy,
    Copying,
    Disarm,
    Disarmed,
    Disarming,
    Done,
    Drain,
    Drained,
    Draining,
    Event,
    Failed,
    Group,
    Held,
    IngressFlipped,
    Lost,
    NotFlipped,
    PathReady,
    Prepared,
    Preparing,
    ProtocolError,
    Ready,
    RecordCommit,
    Recorded,
    RedirectIngress,
    Refresh,
    Repace,
    Resumed,
    Resuming,
    RolledBack,
    State,
    Stop,
    Stopped,
    Stopping,
    SwitchTimes,
    Undo,
    Undoing,
    Undone,
    Verified,
    Verify,
    Verifying,
    Waiting,
)

Step = tuple[State, tuple[Command, ...]]

_SLOW_ROUNDS = 3  # refreshes, after which a link that is too slow is not a hiccup any more


def advance(state: State, event: Event) -> Step:
    """The state after `event`, and what is to be done now. ProtocolError for a pair that is not listed."""
    step = _STEPS.get(type(state))
    if step is None:
        raise ProtocolError(f"{type(state).__name__} is an end: nothing follows it, not even {event}")
    if isinstance(event, Approved) and not isinstance(state, Preparing | Copying | Waiting):
        return state, ()  # it does not wait any more
    after = step(state, event)
    check(after[0])
    return after


def _unlisted(state: State, event: Event) -> ProtocolError:
    return ProtocolError(f"{event} cannot happen in {type(state).__name__}")


def _back(group: Group, event: Failed | AbortRequested) -> Step:
    reason = event.reason if isinstance(event, AbortRequested) else f"{event.what}: {event.reason}"
    return Undoing(group=group, reason=reason), (Undo(),)


def _preparing(state: Preparing, event: Event) -> Step:
    match event:
        case Prepared(member):
            state = replace(state, prepared=state.prepared | {member})
        case PathReady():
            state = replace(state, path_ready=True)
        case Armed():
            state = replace(state, armed=True)
        case Approved():
            state = replace(state, group=approved(state.group))
        case Failed() | AbortRequested():
            return _back(state.group, event)
        case _:
            raise _unlisted(state, event)
    if state.path_ready and state.armed and state.prepared == state.group.members():
        return Copying(group=state.group, held={}), (Copy(state.group.order[0]),)
    return state, ()


def _copying(state: Copying, event: Event) -> Step:
    waiting = [member for member in state.group.order if member not in state.held]
    match event:
        case Held(member) if member != waiting[0]:
            raise _unlisted(state, event)  # one at a time, in the group's order
        case Held(member, left):
            held = {**state.held, member: left}
            if waiting == [member]:
                if state.group.policy.waits:
                    return Waiting(group=state.group, left=held), ()
                return _converge(state.group, held)
            return replace(state, held=held), (Copy(waiting[1]),)
        case Stopped(member, _):
            # Others have not even been copied: back, before somebody notices.
            reason = "it stopped by itself while others were still to be copied"
            return _back(state.group, Failed(f"copy {member}", reason))
        case Approved():
            return replace(state, group=approved(state.group)), ()  # before it was asked for: it need not wait
        case Failed() | AbortRequested():
            return _back(state.group, event)
        case _:
            raise _unlisted(state, event)


def approved(group: Group) -> Group:
    """The same group, which does not wait any more."""
    return replace(group, policy=replace(group.policy, waits=False))


def _waiting(state: Waiting, event: Event) -> Step:
    match event:
        case Approved():
            return _converge(approved(state.group), state.left)
        case Stopped(member, _):
            return _back(state.group, Failed(f"hold {member}", "it stopped by itself while the move was waiting"))
        case Failed() | AbortRequested():
            return _back(state.group, event)
        case _:
            raise _unlisted(state, event)


def _converge(group: Group, left: Mapping[MemberId, int]) -> Step:
    """The first joint refresh; and minutes after all was made ready, is it still as it should be?"""
    first = Converging(group=group, is_ready=False, round=0, refreshing=frozenset(), left=left)
    after, commands = _next_round(first)
    return after, (CheckReady(), *commands)


def _next_round(state: Converging) -> Step:
    """All are held: refresh all together once more, or switch."""
    policy = state.group.policy
    left = sum(state.left.values())
    if left > policy.most_bytes and state.round >= policy.max_rounds:
        limit = f"more than the {_mb(policy.most_bytes)} that may be sent while nobody runs"
        reason = f"the group does not converge: after {state.round} refreshes {_left(state)}, {limit}"
        return _back(state.group, Failed("converge", reason))
    slow = {m: takes_s for m, takes_s in state.takes_s.items() if takes_s > policy.most_s}
    if slow and state.round >= min(_SLOW_ROUNDS, policy.max_rounds):
        member = max(slow, key=lambda name: slow[name])
        limit = f"longer than the {policy.most_s:g} s that nobody may run"
        reason = f"the link does not carry it: {member}'s rest would take {slow[member]:.1f} s, {limit}; {_left(state)}"
        return _back(state.group, Failed("converge", reason))
    if not slow and (left <= policy.enough_bytes or state.round >= policy.max_rounds):
        return _stop_all(state.group, {}) if state.is_ready else (replace(state, refreshing=frozenset()), ())
    # A member with little left stays held: after another pass it would have nothing to send, and stop by itself.
    floor = policy.enough_bytes / (2 * len(state.left))
    waiting = {m: left for m, left in state.left.items() if left > floor or m in slow}
    refreshes = tuple(Refresh(m, _pace(waiting, m, policy.link_rate)) for m in state.group.order if m in waiting)
    return replace(state, round=state.round + 1, refreshing=frozenset(waiting)), refreshes


def _left(state: Converging) -> str:
    """In words, how much is left to be sent, of whom most."""
    member = max(state.left, key=lambda name: state.left[name])
    return f"{_mb(sum(state.left.values()))} are left, {_mb(state.left[member])} of them {member}'s"


def _mb(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def _repaced(state: Converging) -> tuple[Command, ...]:
    """What the ones that are held again leave of the link is for those that are not."""
    waiting = {member: state.left[member] for member in state.refreshing}
    rate = state.group.policy.link_rate
    return tuple(Repace(m, _pace(waiting, m, rate)) for m in state.group.order if m in waiting)


def _pace(left: Mapping[MemberId, int], member: MemberId, link_rate: float) -> float:
    """The member's share of the link, in proportion to what it has left, so that all end their pass together."""
    share = left[member] / max(sum(left.values()), 1)
    return link_rate * max(share, 1 / (4 * len(left)))


def _converging(state: Converging, event: Event) -> Step:
    match event:
        case Stopped(member, _) if not state.is_ready:
            reason = "it stopped by itself before it was seen that the switch can be ended"
            return _back(state.group, Failed(f"refresh {member}", reason))
        case Stopped(member, at):
            # It found nothing more to send, and stopped by itself: that is the moment for all.
            return _stop_all(state.group, {member: at})
        case Ready():
            ready = replace(state, is_ready=True)
            return (ready, ()) if state.refreshing else _next_round(ready)
        case Held(member, left, takes_s):
            refreshing, seen = state.refreshing - {member}, {**state.takes_s, member: takes_s}
            after = replace(state, refreshing=refreshing, left={**state.left, member: left}, takes_s=seen)
            return (after, _repaced(after)) if refreshing else _next_round(after)
        case Failed(what, reason) if what.startswith("refresh "):
            return _back(state.group, Failed(what, f"{reason}; before it {_left(state)}"))
        case Failed() | AbortRequested():
            return _back(state.group, event)
        case _:
            raise _unlisted(state, event)


def _stop_all(group: Group, stopped: Mapping[MemberId, float]) -> Step:
    if set(stopped) == group.members():
        return _drain_all(Stopping(group=group, stopped=stopped))
    commands = tuple(Stop(m) for m in group.order if m not in stopped)
    return Stopping(group=group, stopped=stopped), commands


def _stopping(state: Stopping, event: Event) -> Step:
    match event:
        case Stopped(member, at):
            state = replace(state, stopped={**state.stopped, member: at})
            return _drain_all(state) if set(state.stopped) == state.group.members() else (state, ())
        case Held():
            return state, ()  # the pass that was under way when all were told to stop: nothing new
        case Failed() | AbortRequested():
            return _back(state.group, event)
        case _:
            raise _unlisted(state, event)


def _drain_all(state: Stopping) -> Step:
    drains: tuple[Command, ...] = tuple(Drain(m) for m in state.group.order)
    if state.group.moves_ingress:
        drains = (*drains, RedirectIngress())
    after = Draining(group=state.group, stopped=state.stopped, drained={})
    return after, drains


def _draining(state: Draining, event: Event) -> Step:
    match event:
        case Drained(member, copied):
            drained = {**state.drained, member: copied}
            if set(drained) == state.group.members():
                return Disarming(group=state.group, stopped=state.stopped, drained=drained), (Disarm(),)
            return replace(state, drained=drained), ()
        case Held() | Stopped():
            return state, ()  # the pass that was under way when all were told to stop; a stop that is known
        case Failed() | AbortRequested():
            return _back(state.group, event)
        case _:
            raise _unlisted(state, event)


def _disarming(state: Disarming, event: Event) -> Step:
    match event:
        case Disarmed(run_again) if run_again:
            reason = f"it took too long, and the guard has run {', '.join(sorted(run_again))} again at the source"
            return _back(state.group, Failed("disarm", reason))
        case Disarmed():
            return Committing(group=state.group, stopped=state.stopped, drained=state.drained), (RecordCommit(),)
        case Held() | Stopped():
            return state, ()
        case Failed() | AbortRequested():
            return _back(state.group, event)
        case _:
            raise _unlisted(state, event)


def _committing(state: Committing, event: Event) -> Step:
    match event:
        case Recorded():
            return go_forward(state.group, stopped=state.stopped, drained=state.drained)
        case Held() | Stopped() | AbortRequested():
            return state, ()  # late reports; and too late to say no: the record may be written already
        case Failed():
            # The engine says so only when it has looked, and the record is not on storage.
            return _back(state.group, event)
        case _:
            raise _unlisted(state, event)


def _resuming(state: Resuming, event: Event) -> Step:
    match event:
        case Resumed(member, at):
            state = replace(state, resumed={**state.resumed, member: at})
        case Lost(member, reason):
            state = replace(state, lost={**state.lost, member: reason})
        case IngressFlipped():
            state = replace(state, flipped=True)
        case NotFlipped(reason):
            # The source's edge carries the users to the target. A recovery may not have asked it to yet.
            after, commands = _all_resumed(replace(state, unflipped=reason))
            return after, (RedirectIngress(), *commands)
        case Held() | Stopped() | AbortRequested():
            return state, ()
        case Failed():
            raise ProtocolError(f"after the commit there is only forward; the engine tries again, yet: {event}")
        case _:
            raise _unlisted(state, event)
    return _all_resumed(state)


def _all_resumed(state: Resuming) -> Step:
    """Try the chain, if all that there is runs and the route has flipped, or never will."""
    is_routed = state.flipped or state.unflipped is not None
    if not is_routed or set(state.resumed) | set(state.lost) != state.group.members():
        return state, ()
    times = SwitchTimes(stopped=state.stopped, resumed=state.resumed, copied=state.drained)
    return Verifying(group=state.group, times=times, unflipped=state.unflipped, lost=state.lost), (Verify(),)


def _verifying(state: Verifying, event: Event) -> Step:
    match event:
        case Verified(found):
            problems = found
        case Failed(what, reason):
            problems = (f"{what}: {reason}",)
        case Held() | Stopped() | AbortRequested():
            return state, ()
        case _:
            raise _unlisted(state, event)
    lost = tuple(
        f"{member} is lost at the target ({why}); what stands still of it on {state.group.sources[member]} is kept"
        for member, why in sorted(state.lost.items())
    )
    unflipped = () if state.unflipped is None else (_unflipped(state.group, state.unflipped),)
    found = (*lost, *unflipped, *problems)
    after = Cleaning(group=state.group, times=state.times, problems=found, unverified=problems)
    return after, (CleanUp(frozenset(state.lost), keep_ingress=state.unflipped is not None),)


def _unflipped(group: Group, why: str) -> str:
    return (
        f"the route could not be moved ({why}): users still enter at {group.source_site}, whose edge sends them on to"
        f" {group.target_site}; resume the move when the edge of {group.target_site} is well again"
    )


def _cleaning(state: Cleaning, event: Event) -> Step:
    match event:
        case Cleaned():
            problems = state.problems
        case Failed(what, reason):
            problems = (*state.problems, f"{what}: {reason}")
        case Held() | Stopped() | AbortRequested():
            return state, ()
        case _:
            raise _unlisted(state, event)
    return Done(group=state.group, times=state.times, problems=problems, unverified=state.unverified), ()


def _undoing(state: Undoing, event: Event) -> Step:
    match event:
        case Undone():
            return RolledBack(group=state.group, reason=state.reason), ()
        case Failed(what, reason) if what == "undo":
            return RolledBack(group=state.group, reason=state.reason, problems=(reason,)), ()
        case _:
            return state, ()  # answers of commands that were under way; what they did is undone all the same


_STEPS: Mapping[type[Any], Callable[[Any, Event], Step]] = {
    Preparing: _preparing,
    Copying: _copying,
    Waiting: _waiting,
    Converging: _converging,
    Stopping: _stopping,
    Draining: _draining,
    Disarming: _disarming,
    Committing: _committing,
    Resuming: _resuming,
    Verifying: _verifying,
    Cleaning: _cleaning,
    Undoing: _undoing,
}
