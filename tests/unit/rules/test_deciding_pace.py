"""What keeps rules from doing too much or too soon: holds, windows, limits, pauses; and that clocks may jump."""

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rules_world import (
    FOLLOW,
    HOSTS,
    MEMBERS,
    NOON,
    WEB1,
    Loop,
    after_being_whole,
    lies,
    placed,
    rules,
    said,
    view,
)

from entourage.model.ids import HostId, MemberId, ServiceId
from entourage.ports.hypervisor import RunState
from entourage.rules.deciding import Decision, Verdict, decide
from entourage.rules.memory import Memory
from entourage.rules.view import HostState, ServiceView, SiteState

MOVED = lies(placed(web1="west"))
HOUR = 3600.0


def following(**options: str) -> str:
    """The rule that follows a server, with more options."""
    more = "".join(f", {key.replace('_', '-')}: {value}" for key, value in options.items())
    return f"follow-server: {{when: member-moved, if: member.role == 'server', do: follow{more}}}"


def verdict(decisions: list[Decision]) -> str:
    (decision,) = decisions
    return decision.verdict.value


# Hold.


def test_a_rule_with_a_hold_acts_once_it_was_so_for_that_long_without_a_break() -> None:
    loop = after_being_whole(following(hold="5 s"))
    assert said(loop.sees(MOVED)) == [("follow-server", "wait", ("it is so for 0.0 s, and must be for 5 s",))]
    assert said(loop.sees(MOVED, after=4.5)) == [
        ("follow-server", "wait", ("it is so for 4.5 s, and must be for 5 s",))
    ]
    assert verdict(loop.sees(MOVED, after=0.5)) == "do"


def test_interrupted_a_hold_begins_anew() -> None:
    loop = after_being_whole(following(hold="5 s"))
    loop.sees(MOVED)
    loop.sees(lies(), after=4.0)
    assert verdict(loop.sees(MOVED, after=4.0)) == "wait"
    assert verdict(loop.sees(MOVED, after=4.9)) == "wait"
    assert verdict(loop.sees(MOVED, after=0.1)) == "do"


def test_a_hold_goes_on_while_something_else_is_waited_for() -> None:
    loop = after_being_whole(following(hold="5 s"))
    loop.sees(lies(placed(web1="west"), is_moving=True))
    assert verdict(loop.sees(MOVED, after=5.0)) == "do"


# Windows.


def test_outside_its_window_a_rule_says_when_that_opens() -> None:
    loop = after_being_whole(following(within="[mon-fri 22:00-05:00, sun 3:00-4:00]"))
    assert said(loop.sees(MOVED)) == [("follow-server", "wait", ("its window opens Wed 22:00",))]
    assert verdict(loop.sees(MOVED, taken_at=NOON + 10 * HOUR)) == "do"
    assert verdict(loop.sees(MOVED, taken_at=NOON + 16.99 * HOUR)) == "do"
    assert verdict(loop.sees(MOVED, taken_at=NOON + 17 * HOUR)) == "wait"
    assert verdict(loop.sees(MOVED, taken_at=NOON + (3 * 24 + 15.5) * HOUR)) == "do"  # Sunday


def test_windows_are_in_the_rules_zone() -> None:
    loop = after_being_whole(following(within="13:00-14:30"), top="timezone: Europe/Berlin")
    assert verdict(loop.sees(MOVED)) == "do"  # noon in UTC is two there
    assert verdict(loop.sees(MOVED, taken_at=NOON + 0.5 * HOUR)) == "wait"


# Limits.


def many(count: int, *, moved: bool = True) -> list[ServiceView]:
    where = placed(web1="west") if moved else placed()
    return [lies(where, named=f"shop{number}") for number in range(count)]


def at_many(count: int, **options: str) -> Loop:
    loop = Loop(rules(following(**options)))
    loop.sees(*many(count, moved=False))
    return loop


def test_a_rule_acts_on_so_many_services_at_once() -> None:
    loop = at_many(3, limit="{at-once: 2}")
    one, two, three = loop.sees(*many(3))
    assert [one.verdict, two.verdict, three.verdict] == [Verdict.DO, Verdict.DO, Verdict.WAIT]
    assert three.reasons == ("it acts on 2 services now, at most 2 at once",)
    loop.begins(one)
    loop.begins(two)
    assert [each.verdict for each in loop.sees(*many(3))] == [Verdict.WAIT] * 3
    loop.ends(one)
    after = loop.sees(*many(3))
    assert [each.verdict for each in after[1:]] == [Verdict.WAIT, Verdict.WAIT]
    assert after[0].verdict is Verdict.DO  # it is as if nothing had been done: still moved


def test_what_is_being_done_is_not_begun_again() -> None:
    loop = after_being_whole(FOLLOW)
    loop.begins(loop.sees(MOVED)[0])
    assert said(loop.sees(MOVED)) == [("follow-server", "wait", ("it is being done",))]


def test_a_rule_acts_so_often_in_an_hour() -> None:
    loop = at_many(3, limit="{per-hour: 2}")
    one, two, three = loop.sees(*many(3))
    assert [one.verdict, two.verdict, three.verdict] == [Verdict.DO, Verdict.DO, Verdict.WAIT]
    loop.does(one)
    loop.does(two)
    left = [lies(placed(web1="west"), named="shop2")]
    assert said(loop.sees(*left, after=10.0)) == [
        ("follow-server", "wait", ("it acted 2 times in the last hour, at most 2",)),
    ]
    assert verdict(loop.sees(*left, after=HOUR - 10.1)) == "wait"
    assert verdict(loop.sees(*left, after=0.1)) == "do"


def test_limits_of_different_rules_do_not_add_up() -> None:
    back = "back: {when: member-moved, if: member.role == 'router', do: bring-back, limit: {per-hour: 1}}"
    loop = Loop(rules(following(limit="{per-hour: 1}"), back))
    loop.sees(*many(2, moved=False))
    seen = [lies(placed(web1="west"), named="shop0"), lies(placed(rt="west"), named="shop1")]
    assert [each.verdict for each in loop.sees(*seen)] == [Verdict.DO, Verdict.DO]


# Failures.


def test_after_failures_the_pause_doubles_up_to_ten_minutes() -> None:
    loop = after_being_whole(FOLLOW)
    (decision,) = loop.sees(MOVED)
    for times, pause in enumerate((10, 20, 40, 80, 160, 320, 600, 600, 600), start=1):
        loop.does(decision, done=False)
        assert said(loop.sees(MOVED, after=1.0)) == [
            ("follow-server", "wait", (f"it failed {times} times; the next attempt is in {pause - 1} s",)),
        ]
        assert verdict(loop.sees(MOVED, after=pause - 1.5)) == "wait"
        (decision,) = loop.sees(MOVED, after=0.5)
        assert decision.verdict is Verdict.DO


def test_failures_are_forgotten_once_it_was_not_so() -> None:
    loop = after_being_whole(FOLLOW)
    loop.does(loop.sees(MOVED)[0], done=False)
    loop.sees(lies(), after=0.5)
    loop.does(loop.sees(MOVED)[0], done=False)
    assert "it failed 1 times" in loop.sees(MOVED)[0].reasons[0]


def test_failures_are_forgotten_once_it_was_done() -> None:
    loop = after_being_whole(FOLLOW)
    loop.does(loop.sees(MOVED)[0], done=False)
    loop.does(loop.sees(MOVED, after=10.0)[0], done=True)
    assert verdict(loop.sees(MOVED)) == "do"


def test_failures_of_one_service_hold_no_other_up() -> None:
    loop = at_many(2)
    loop.does(loop.sees(*many(2))[0], done=False)
    assert [each.verdict for each in loop.sees(*many(2))] == [Verdict.WAIT, Verdict.DO]


# What is done once.

NOTIFY = "webhooks: {ops: {url: 'https://ops.example.net/hook'}}\ncommands: {page: [/bin/page]}"
BROKEN = lies(broken_promises=("fw",))


@pytest.mark.parametrize("action", ["notify, webhook: ops", "run, command: page"])
def test_what_does_not_move_is_done_once_for_each_time_that_it_becomes_so(action: str) -> None:
    loop = after_being_whole(f"tell: {{when: promise-broken, do: {action}}}", top=NOTIFY)
    (decision,) = loop.sees(BROKEN)
    assert decision.verdict is Verdict.DO
    loop.begins(decision)
    assert said(loop.sees(BROKEN)) == [("tell", "wait", ("it is being done",))]
    loop.ends(decision)
    done = "it was done, and is done again only after it has not been so"
    assert said(loop.sees(BROKEN, after=HOUR)) == [("tell", "wait", (done,))]
    assert loop.sees(lies()) == []
    assert verdict(loop.sees(BROKEN)) == "do"


def test_what_could_not_be_told_is_tried_again_as_is_said() -> None:
    loop = after_being_whole("tell: {when: promise-broken, do: notify, webhook: ops}", top=NOTIFY)
    loop.does(loop.sees(BROKEN)[0], done=False)
    assert said(loop.sees(BROKEN)) == [("tell", "wait", ("it failed 1 times; the next attempt is in 9 s",))]
    assert verdict(loop.sees(BROKEN, after=9.0)) == "do"


def test_telling_keeps_no_other_rule_from_moving() -> None:
    tell = "tell: {when: member-moved, do: notify, webhook: ops}"
    loop = after_being_whole(tell, FOLLOW, top=NOTIFY)
    assert [each.verdict for each in loop.sees(MOVED)] == [Verdict.DO, Verdict.DO]


# Whatever is seen.

WORLDS = rules(
    following(hold="2 s"),
    "back: {when: member-moved, if: service.away < 3, do: bring-back}",
    "leave: {when: host-maintenance, do: evacuate, hold: 1 s}",
    "flee: {when: site-lost, do: evacuate}",
    "frozen: {when: always, if: path.crossings > 2, do: refuse}",
    "tell: {when: host-lost, do: notify, webhook: ops}",
    "away: {when: always, if: 'service.away > 0 && service.settled_s > 3.0', do: bring-back}",
    top=NOTIFY,
)
Step = Mapping[str, Any]

MEMBER_IDS = st.sampled_from((*MEMBERS, MemberId("stranger")))
HOST_IDS = st.sampled_from(HOSTS)
COPIES = st.dictionaries(st.tuples(MEMBER_IDS, HOST_IDS), st.sampled_from(RunState), max_size=4)
SPLIT = st.dictionaries(st.sampled_from(MEMBERS), HOST_IDS, max_size=2)
LYING = st.builds(
    lambda split, odd, put: lies(
        {**placed(), **split},
        copies={**dict.fromkeys({**placed(), **split}.items(), RunState.RUNNING), **odd},
        put=put,
    ),
    SPLIT,
    COPIES | st.just({}),
    st.dictionaries(st.sampled_from(MEMBERS), HOST_IDS, max_size=2),
)
STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "seen": LYING,
            "after": st.sampled_from((0.1, 1.0, 5.0, 70.0, 4000.0)),
            "hosts": st.dictionaries(HOST_IDS, st.sampled_from(HostState), max_size=2),
            "sites": st.dictionaries(
                st.sampled_from(("east", "west", "south")), st.sampled_from(SiteState), max_size=2
            ),
            "does": st.sampled_from((None, True, False)),
        }
    ),
    min_size=1,
    max_size=5,
)
FEW = settings(max_examples=60, deadline=None)


def told(loop: Loop, step: Step, *, taken_at: float = NOON) -> list[Decision]:
    """What is decided on a step, after which what is to be done is done, fails, or goes on."""
    decided = loop.looks(step["seen"], after=step["after"], hosts=step["hosts"], sites=step["sites"], taken_at=taken_at)
    for decision in decided.to_do():
        loop.begins(decision)
        if step["does"] is not None:
            loop.ends(decision, done=step["does"])
    return list(decided.decisions)


@given(STEPS, st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=5))
@FEW
def test_a_clock_that_jumps_changes_nothing(steps: list[Step], jumps: list[float]) -> None:
    steady, jumping = Loop(WORLDS), Loop(WORLDS)
    for step, jump in zip(steps, jumps, strict=False):
        assert told(steady, step) == told(jumping, step, taken_at=NOON + jump)
    assert steady.memory == jumping.memory


@given(STEPS)
@FEW
def test_the_same_view_and_memory_give_the_same_decisions_and_at_most_one_move(steps: list[Step]) -> None:
    loop = Loop(WORLDS)
    for step in steps:
        seen = view(step["seen"], elapsed=loop.elapsed + step["after"], hosts=step["hosts"], sites=step["sites"])
        once, again = decide(seen, WORLDS, loop.memory), decide(seen, WORLDS, loop.memory)
        assert once == again
        moves = [each for each in once.to_do() if each.action.act.moves]
        assert len(moves) <= 1
        assert all(each.target is not None and each.predicted_s is not None for each in moves)
        assert all(each.reasons for each in once.decisions if each.verdict is not Verdict.DO)
        assert told(loop, step) == list(once.decisions)


@given(st.lists(STEPS, min_size=2, max_size=3), st.randoms(use_true_random=False))
@FEW
def test_services_are_decided_on_apart_from_each_other(stories: list[list[Step]], chance: Random) -> None:
    """In whatever order they are seen, and alone as among others."""
    names = [f"shop{number}" for number in range(len(stories))]
    memory = Memory()
    for number in range(min(map(len, stories))):
        steps = [story[number] for story in stories]
        all_seen = [
            lies(named=name, copies=step["seen"].copies, put=step["seen"].put, ingress=step["seen"].ingress)
            for name, step in zip(names, steps, strict=True)
        ]
        elapsed = 1000.0 + 10 * number
        more = {"elapsed": elapsed, "hosts": steps[0]["hosts"], "sites": steps[0]["sites"]}
        decided = decide(view(*all_seen, **more), WORLDS, memory)
        shuffled = chance.sample(all_seen, len(all_seen))
        other = decide(view(*shuffled, **more), WORLDS, memory)
        assert {name: of(name, other.decisions) for name in names} == {n: of(n, decided.decisions) for n in names}
        assert other.memory == decided.memory
        for name in names:
            alone = decide(view(*all_seen, **more), WORLDS, memory, only=[ServiceId(name)])
            assert list(alone.decisions) == of(name, decided.decisions)
            assert alone.memory.placed.get(ServiceId(name)) == decided.memory.placed.get(ServiceId(name))
        memory = decided.memory


def of(name: str, decisions: tuple[Decision, ...]) -> list[Decision]:
    return [decision for decision in decisions if decision.service == name]


def test_a_member_that_goes_to_and_fro_is_decided_on_each_time_as_it_lies() -> None:
    loop = after_being_whole(FOLLOW)
    for number in range(6):
        away = number % 2 == 0
        decisions = loop.sees(lies({**placed(), WEB1: HostId("west/h1" if away else "east/h1")}), after=61.0)
        assert [each.verdict for each in decisions if each.verdict is Verdict.DO] == [Verdict.DO] * away
