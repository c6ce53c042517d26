"""The group switch as a state machine, driven by every order of events that hypothesis thinks of."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from switch_run import BEFORE_COMMIT, ENDS, GROUPS, NAMES, A, B, Run, Watched, a_group, advance_to, answer_of

from entourage.model.ids import HostId, MemberId
from entourage.switch import Group, ProtocolError, advance, begin, begin_back, begin_forward
from entourage.switch import types as sw


def happen_at_random(data: st.DataObject, run: Run, *, stops_itself: bool) -> None:
    """One of the commands that wait is answered; or a member of a group that is held or stopped tells that it stopped.

    The last is told by whoever watches the members: of each that stands still, once, and whenever that is.
    """
    told = {e.member for e in run.events if isinstance(e, Watched)}
    may = [m for m in run.state.group.order if m not in told] if stops_itself and can_stop(run.state) else []
    tells: bool = data.draw(st.booleans())
    if may and tells:
        run.happen(Watched(data.draw(st.sampled_from(may)), 9.0))
        return
    run.answer(data.draw(st.sampled_from(run.waiting)), left=data.draw(st.integers(0, 3000)))


def can_stop(state: sw.State) -> bool:
    """Whether members may stand still without anything being wrong."""
    if isinstance(state, sw.Converging) and not state.is_ready:
        return False
    return not isinstance(state, sw.Preparing | sw.Copying | sw.Done | sw.RolledBack)


@given(group=GROUPS, stops_itself=st.booleans(), data=st.data())
@settings(max_examples=80)
def test_any_order_of_answers_leads_to_done(group: Group, *, stops_itself: bool, data: st.DataObject) -> None:
    run = Run.of(group)
    while not isinstance(run.state, ENDS):
        happen_at_random(data, run, stops_itself=stops_itself)
    times = run.require(sw.Done).times
    assert set(times.stopped) == set(times.resumed) == set(times.copied) == set(group.order)
    assert not [
        command
        for command in run.waiting
        if not isinstance(command, sw.RedirectIngress | sw.Refresh | sw.Repace | sw.Stop)
    ]


@given(group=GROUPS, moment=st.integers(0, 60), data=st.data())
@settings(max_examples=80)
def test_an_abort_before_the_commit_rolls_back_and_after_it_changes_nothing(
    group: Group, moment: int, data: st.DataObject
) -> None:
    run = Run.of(group)
    for _ in range(moment):
        if isinstance(run.state, sw.Cleaning):
            break
        happen_at_random(data, run, stops_itself=True)
    before = run.state
    run.happen(sw.AbortRequested("not now"))
    if isinstance(before, BEFORE_COMMIT):
        assert run.require(sw.Undoing).reason == "not now"
        assert isinstance(run.commands[-1], sw.Undo)
    else:
        assert run.state == before
    while not isinstance(run.state, ENDS):
        happen_at_random(data, run, stops_itself=True)
    assert isinstance(run.state, sw.RolledBack if isinstance(before, BEFORE_COMMIT) else sw.Done)


@given(group=GROUPS, moment=st.integers(0, 60), data=st.data())
@settings(max_examples=80)
def test_a_failure_before_the_record_rolls_back(group: Group, moment: int, data: st.DataObject) -> None:
    run = Run.of(group)
    for _ in range(moment):
        if isinstance(run.state, sw.Committing):
            break
        happen_at_random(data, run, stops_itself=True)
    run.happen(sw.Failed("stop web1", "it burns"))
    assert run.require(sw.Undoing).reason == "stop web1: it burns"
    run.finish()
    run.require(sw.RolledBack)
    assert sw.Resume not in {type(command) for command in run.commands}


ANY_EVENT = st.one_of(
    st.builds(sw.Prepared, st.sampled_from(NAMES)),
    st.just(sw.PathReady()),
    st.builds(sw.Held, st.sampled_from(NAMES), st.integers(0, 3000)),
    st.builds(sw.Stopped, st.sampled_from(NAMES), st.just(10.0)),
    st.builds(sw.Drained, st.sampled_from(NAMES), st.integers(0, 100)),
    st.just(sw.Armed()),
    st.just(sw.Approved()),
    st.builds(sw.Disarmed, st.frozensets(st.sampled_from(NAMES))),
    st.just(sw.Recorded()),
    st.builds(sw.Resumed, st.sampled_from(NAMES), st.just(11.0)),
    st.just(sw.IngressFlipped()),
    st.just(sw.Verified(())),
    st.just(sw.Cleaned()),
    st.just(sw.Undone()),
    st.builds(sw.Failed, st.sampled_from(("copy web1", "undo")), st.just("it burns")),
    st.just(sw.AbortRequested("not now")),
)


@given(group=GROUPS, data=st.data())
@settings(max_examples=150)
def test_whatever_happens_no_state_is_illegal(group: Group, data: st.DataObject) -> None:
    """Also answers that nobody asked for: each is an error that changes nothing, or leads to a legal state."""
    run = Run.of(group)
    for _ in range(40):
        if isinstance(run.state, ENDS):
            break
        if run.waiting and data.draw(st.integers(0, 3)) > 0:
            happen_at_random(data, run, stops_itself=True)
            continue
        event, before = data.draw(ANY_EVENT), run.state
        try:
            advance(run.state, event)
        except ProtocolError:
            assert run.state is before
        else:
            apply_unasked(run, event)


def apply_unasked(run: Run, event: sw.Event) -> None:
    """An event that the state knows although nobody was asked; its command counts as answered."""
    if isinstance(event, sw.Failed):
        run.waiting = [c for c in run.waiting if not isinstance(c, sw.Verify | sw.CleanUp)]
    for command in run.waiting:
        answered = answer_of(command)
        if type(answered) is type(event) and getattr(answered, "member", None) == getattr(event, "member", None):
            run.waiting.remove(command)
            break
    run.happen(event)


LISTED: dict[type, set[type]] = {
    sw.Preparing: {sw.Prepared, sw.PathReady, sw.Armed, sw.Failed, sw.AbortRequested},
    sw.Copying: {sw.Held, sw.Stopped, sw.Failed, sw.AbortRequested},
    sw.Waiting: {sw.Stopped, sw.Failed, sw.AbortRequested},
    sw.Converging: {sw.Ready, sw.Held, sw.Stopped, sw.Failed, sw.AbortRequested},
    sw.Stopping: {sw.Stopped, sw.Held, sw.Failed, sw.AbortRequested},
    sw.Draining: {sw.Drained, sw.Held, sw.Stopped, sw.Failed, sw.AbortRequested},
    sw.Disarming: {sw.Disarmed, sw.Held, sw.Stopped, sw.Failed, sw.AbortRequested},
    sw.Committing: {sw.Recorded, sw.Held, sw.Stopped, sw.Failed, sw.AbortRequested},
    sw.Resuming: {sw.Resumed, sw.Lost, sw.IngressFlipped, sw.NotFlipped, sw.Held, sw.Stopped, sw.AbortRequested},
    sw.Verifying: {sw.Verified, sw.Held, sw.Stopped, sw.Failed, sw.AbortRequested},
    sw.Cleaning: {sw.Cleaned, sw.Held, sw.Stopped, sw.Failed, sw.AbortRequested},
    # Answers of what was under way when the undoing began arrive here, whatever they are.
    sw.Undoing: set(get_args(sw.Event)),
    sw.Done: set(),
    sw.RolledBack: set(),
}
for listed in LISTED.values():
    if listed:
        listed.add(sw.Approved)  # too late, it changes nothing
EVENTS: dict[type, sw.Event] = {
    sw.Prepared: sw.Prepared(A),
    sw.PathReady: sw.PathReady(),
    sw.Ready: sw.Ready(),
    sw.Held: sw.Held(A, 10),
    sw.Stopped: sw.Stopped(A, 10.0),
    sw.Drained: sw.Drained(A, 100),
    sw.Armed: sw.Armed(),
    sw.Approved: sw.Approved(),
    sw.Disarmed: sw.Disarmed(),
    sw.Recorded: sw.Recorded(),
    sw.Resumed: sw.Resumed(A, 11.0),
    sw.Lost: sw.Lost(A, "it is gone"),
    sw.IngressFlipped: sw.IngressFlipped(),
    sw.NotFlipped: sw.NotFlipped("no answer"),
    sw.Verified: sw.Verified(()),
    sw.Cleaned: sw.Cleaned(),
    sw.Undone: sw.Undone(),
    sw.Failed: sw.Failed("copy rt", "it burns"),
    sw.AbortRequested: sw.AbortRequested("not now"),
}


def test_the_table_names_every_state_and_every_event() -> None:
    assert set(LISTED) == set(get_args(sw.State))
    assert set(EVENTS) == set(get_args(sw.Event))


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.__name__)
@pytest.mark.parametrize("state", LISTED, ids=lambda s: s.__name__)
def test_every_pair_is_listed_or_an_error(state: type, event: type) -> None:
    run = advance_to(state)
    if event in LISTED[state]:
        run.happen(EVENTS[event])
    else:
        with pytest.raises(ProtocolError, match=rf"{state.__name__}|only forward"):
            advance(run.state, EVENTS[event])


STRANGER = MemberId("nobody")


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (sw.Preparing, sw.Prepared(STRANGER)),
        (sw.Copying, sw.Held(STRANGER, 10)),
        (sw.Converging, sw.Held(STRANGER, 10)),
        (sw.Converging, sw.Stopped(STRANGER, 9.0)),
        (sw.Stopping, sw.Stopped(STRANGER, 10.0)),
        (sw.Draining, sw.Drained(STRANGER, 100)),
        (sw.Resuming, sw.Resumed(STRANGER, 11.0)),
        (sw.Resuming, sw.Lost(STRANGER, "it is gone")),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_stranger_is_an_error(state: type, event: sw.Event) -> None:
    with pytest.raises(ProtocolError):
        advance(advance_to(state).state, event)


def test_a_member_that_is_not_being_copied_cannot_be_held() -> None:
    run = advance_to(sw.Copying)
    with pytest.raises(ProtocolError):
        advance(run.state, sw.Held(B, 10))
    run.answer(sw.Copy(A), left=10)
    with pytest.raises(ProtocolError):
        advance(run.state, sw.Held(A, 10))


def test_one_that_stops_by_itself_while_converging_stops_all_at_once() -> None:
    run = advance_to(sw.Converging)
    run.happen(sw.Stopped(B, 9.0))
    assert run.require(sw.Stopping).stopped == {B: 9.0}
    assert [c.member for c in run.commands if isinstance(c, sw.Stop)] == [m for m in run.state.group.order if m != B]
    run.waiting = [command for command in run.waiting if not isinstance(command, sw.Refresh)]
    run.finish()
    assert run.require(sw.Done).times.stopped[B] == 9.0


def at_the_check(group: Group) -> Run:
    """All are copied, and it is being looked at whether the switch can be ended."""
    run = advance_to(sw.Copying, group)
    while not isinstance(run.state, sw.Converging):
        run.answer(run.waiting[0], left=10**6)
    assert sw.CheckReady() in run.waiting
    return run


def test_nobody_is_stopped_before_it_was_seen_that_the_switch_can_be_ended() -> None:
    run = at_the_check(a_group(max_rounds=1))
    run.answer_all([sw.Refresh])
    run.require(sw.Converging)
    run.answer_all([sw.Repace])
    assert run.waiting == [sw.CheckReady()]
    run.answer(sw.CheckReady())
    run.require(sw.Stopping)


def test_a_switch_that_could_not_be_ended_is_not_begun() -> None:
    run = at_the_check(a_group())
    run.happen(sw.Failed("checkready", "bgpd does not answer"))
    assert run.require(sw.Undoing).reason == "checkready: bgpd does not answer"
    assert not any(isinstance(command, sw.Stop) for command in run.commands)


def test_one_that_stops_by_itself_before_that_ends_the_move() -> None:
    run = at_the_check(a_group())
    run.happen(sw.Stopped(B, 9.0))
    assert B in run.require(sw.Undoing).reason


def test_a_route_that_cannot_be_moved_keeps_the_way_by_the_source_and_says_so() -> None:
    run = advance_to(sw.Resuming)
    run.waiting.remove(sw.FlipIngress())
    before = len(run.commands)
    run.happen(sw.NotFlipped("bgpd does not answer"))
    assert run.commands[before:] == [sw.RedirectIngress()]  # a recovery may not have asked for it yet
    run.answer_all([sw.Resume])
    run.answer_all([sw.Verify])
    assert run.commands[-1] == sw.CleanUp(keep_ingress=True)
    run.answer_all([sw.CleanUp])
    (problem,) = run.require(sw.Done).problems
    assert "bgpd does not answer" in problem
    assert "users still enter at east" in problem


@given(data=st.data())
def test_late_reports_change_nothing_while_all_are_stopped(data: st.DataObject) -> None:
    run = advance_to(sw.Converging, a_group(5))
    first = data.draw(st.sampled_from(run.state.group.order))
    run.happen(sw.Stopped(first, 9.0))
    mixed: list[sw.Command] = [c for c in run.waiting if isinstance(c, sw.Stop | sw.Refresh)]
    for command in data.draw(st.permutations(mixed)):
        before = run.state
        run.answer(command)
        if isinstance(command, sw.Refresh):
            assert run.state == before
    for member in data.draw(st.permutations(run.state.group.order)):
        run.happen(sw.Stopped(member, 10.0))
        assert run.require(sw.Draining).drained == {}
    run.finish()
    run.require(sw.Done)


def test_one_that_stops_by_itself_while_others_are_still_to_be_copied_ends_the_move() -> None:
    run = advance_to(sw.Copying)
    run.answer(sw.Copy(A), left=10)
    run.happen(sw.Stopped(A, 9.0))
    assert A in run.require(sw.Undoing).reason
    run.finish()
    run.require(sw.RolledBack)


@given(group=GROUPS, left=st.lists(st.integers(1, 10**9), min_size=5, max_size=5))
def test_refreshes_share_the_link_by_what_is_left(group: Group, left: list[int]) -> None:
    run = advance_to(sw.Copying, group)
    for number, member in enumerate(group.order):
        run.answer(sw.Copy(member), left=left[number])
    paces = {c.member: c.pace for c in run.waiting if isinstance(c, sw.Refresh)}
    shares = dict(zip(group.order, left, strict=False))
    if sum(shares.values()) <= group.policy.enough_bytes or group.policy.max_rounds == 0:
        assert paces == {}
        return
    floor = group.policy.enough_bytes / (2 * len(shares))
    assert set(paces) == {member for member, left in shares.items() if left > floor}  # the others stay held
    assert all(pace >= group.policy.link_rate / (4 * len(paces)) for pace in paces.values())
    assert sum(paces.values()) <= group.policy.link_rate * 1.25 + 1


def test_who_is_held_again_leaves_its_share_of_the_link_to_the_others() -> None:
    run = advance_to(sw.Copying, a_group())
    for member in run.state.group.order:
        run.answer(sw.Copy(member), left=10**6)
    first, *others = [c for c in run.waiting if isinstance(c, sw.Refresh)]
    run.answer(first, left=10**5)
    paces = {c.member: c.pace for c in run.commands if isinstance(c, sw.Repace)}
    assert paces == {c.member: run.state.group.policy.link_rate / len(others) for c in others}
    assert all(pace > c.pace for c in others for pace in (paces[c.member],))


@pytest.mark.parametrize("moment", [sw.Preparing, sw.Copying, sw.Waiting])
def test_a_move_that_waits_goes_on_when_somebody_approves_and_not_before(moment: type) -> None:
    run = advance_to(moment, a_group(waits=True))
    if moment is sw.Waiting:
        assert run.waiting == []  # nobody is asked for anything: it costs nothing to leave it so
    run.happen(sw.Approved())
    run.finish()
    run.require(sw.Done)


def test_a_member_that_stops_while_the_move_waits_puts_everything_back() -> None:
    run = advance_to(sw.Waiting)
    run.happen(sw.Stopped(A, 9.0))
    assert f"hold {A}" in run.require(sw.Undoing).reason


def test_a_guard_that_has_acted_puts_everything_back() -> None:
    run = advance_to(sw.Disarming)
    run.happen(sw.Disarmed(frozenset({A})))
    assert A in run.require(sw.Undoing).reason


def test_after_a_crash_past_the_commit_it_goes_forward_to_its_end() -> None:
    state, commands = begin_forward(a_group())
    run = Run(state=state, waiting=list(commands), commands=list(commands), events=[sw.Recorded()])
    run.finish()
    times = run.require(sw.Done).times
    assert (times.stopped, times.copied) == ({}, {})
    assert set(times.resumed) == run.state.group.members()


def test_after_a_crash_before_the_commit_everything_is_put_back() -> None:
    state, commands = begin_back(a_group(), "it died")
    run = Run(state=state, waiting=list(commands), commands=list(commands))
    run.finish()
    assert run.require(sw.RolledBack).reason == "it died"


def test_refreshing_ends_after_so_many_rounds_however_much_is_left() -> None:
    run = advance_to(sw.Converging, a_group(max_rounds=3))
    while isinstance(run.state, sw.Converging):
        run.answer(run.waiting[0], left=10**6)
    run.require(sw.Stopping)
    assert sum(isinstance(command, sw.Refresh) for command in run.commands) == 3 * 3


def test_a_group_with_too_much_left_after_all_rounds_goes_back_and_says_how_much_and_whose() -> None:
    group = a_group(max_rounds=2)
    run = advance_to(sw.Converging, replace(group, policy=replace(group.policy, most_bytes=2_900_000)))
    while isinstance(run.state, sw.Converging):
        refresh = next(command for command in run.waiting if isinstance(command, sw.Refresh))
        run.answer(refresh, left=2 * 10**6 if refresh.member == B else 5 * 10**5)
    reason = run.require(sw.Undoing).reason
    assert "after 2 refreshes 3.0 MB are left, 2.0 MB of them" in reason
    assert f"{B}'s, more than the 2.9 MB" in reason
    assert not any(isinstance(command, sw.Stop) for command in run.commands)
    run.finish()
    run.require(sw.RolledBack)


def slow_group() -> Group:
    group = a_group(max_rounds=8)
    return replace(group, policy=replace(group.policy, most_s=0.2))


def refreshed(run: Run, *, takes_s: float) -> None:
    """One joint refresh, after which hardly anything is left, and that takes as long for B."""
    for refresh in [command for command in run.waiting if isinstance(command, sw.Refresh)]:
        run.waiting.remove(refresh)
        run.happen(sw.Held(refresh.member, 1, takes_s if refresh.member == B else 0.0))


def test_a_link_that_does_not_carry_the_rest_puts_everything_back_before_anybody_stops() -> None:
    run = advance_to(sw.Converging, slow_group())
    while isinstance(run.state, sw.Converging):
        refreshed(run, takes_s=1.5)
    assert run.state.group.policy.max_rounds > 3
    reason = run.require(sw.Undoing).reason
    assert f"{B}'s rest would take 1.5 s, longer than the 0.2 s that nobody may run" in reason
    assert not any(isinstance(command, sw.Stop) for command in run.commands)
    rounds = [command.member for command in run.commands if isinstance(command, sw.Refresh)]
    assert rounds.count(B) == 3  # looked at again, though hardly anything of it was left
    run.finish()
    run.require(sw.RolledBack)


def test_a_link_that_was_slow_for_a_moment_is_waited_for() -> None:
    run = advance_to(sw.Converging, slow_group())
    refreshed(run, takes_s=1.5)
    run.require(sw.Converging)
    refreshed(run, takes_s=0.1)
    run.finish()
    run.require(sw.Done)


def test_a_refresh_that_fails_says_how_much_was_left() -> None:
    run = advance_to(sw.Converging)
    run.happen(sw.Failed(f"refresh {A}", "no answer within 60 s"))
    assert "MB are left" in run.require(sw.Undoing).reason


def test_a_group_that_keeps_its_ingress_neither_redirects_nor_flips() -> None:
    run = advance_to(sw.Copying, a_group(moves_ingress=False))
    run.finish()
    run.require(sw.Done)
    assert not {sw.RedirectIngress, sw.FlipIngress} & {type(command) for command in run.commands}


def test_what_the_verification_and_the_cleaning_find_is_kept() -> None:
    run = advance_to(sw.Verifying)
    run.happen(sw.Verified(("no answer",)))
    run.happen(sw.Failed("cleanup", "h1 is gone"))
    assert run.require(sw.Done).problems == ("no answer", "cleanup: h1 is gone")


def test_what_the_undoing_could_not_put_back_is_kept() -> None:
    run = advance_to(sw.Undoing)
    run.happen(sw.Failed("copy rt", "cancelled"))
    run.require(sw.Undoing)
    run.happen(sw.Failed("undo", "h1 is gone"))
    assert run.require(sw.RolledBack).problems == ("h1 is gone",)


@pytest.mark.parametrize(
    "group",
    [
        replace(a_group(), order=()),
        replace(a_group(), order=(*a_group().order, A)),
        replace(a_group(), sources={A: HostId("east/h1")}),
        replace(a_group(), targets={A: HostId("west/h1")}),
        replace(a_group(), targets=a_group().sources),
    ],
    ids=["empty", "twice", "sources", "targets", "nowhere to go"],
)
def test_a_group_that_makes_no_sense_does_not_begin(group: Group) -> None:
    with pytest.raises(ProtocolError):
        begin(group)
