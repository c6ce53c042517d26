"""What rules decide: views in, verdicts with reasons out."""

from dataclasses import replace
from typing import Any

import pytest
from rules_world import (
    EAST,
    FOLLOW,
    FW,
    HOSTS,
    INFRASTRUCTURE,
    LB,
    NOON,
    RT,
    SHOP,
    SOUTH,
    WEB1,
    WEB2,
    WEST,
    Loop,
    after_being_whole,
    lies,
    placed,
    rules,
    said,
    view,
)

from entourage.model.ids import HostId, MemberId, ServiceId, site_of
from entourage.planner import HostLoad, MoveRequest, Plan, plan
from entourage.ports.hypervisor import Capability, RunState
from entourage.rules.deciding import Verdict, decide
from entourage.rules.memory import Memory
from entourage.rules.view import HostState, SiteState

BACK = "back: {when: member-moved, do: bring-back}"
LEAVE = "leave: {when: host-maintenance, do: evacuate}"
FULL = HostLoad(memory=2 << 30, cpu=2.0)
H1 = HostId("east/h1")
MAINTAINED = {H1: HostState.MAINTENANCE}
ALL = frozenset(Capability)


def usable(*left: HostId) -> dict[HostId, HostLoad]:
    """Empty hosts, without those that are to be left."""
    return {host: HostLoad(memory=0, cpu=0.0) for host in HOSTS if host not in (H1, *left)}


def plan_of(request: MoveRequest, where: dict[MemberId, HostId]) -> Plan:
    seen = view(lies(where))
    planned = plan(
        seen.snapshot(request.service, where), request, loads=usable(), capabilities=dict.fromkeys(where, ALL)
    )
    assert isinstance(planned, Plan), planned
    return planned


def full(site: str) -> dict[HostId, HostLoad]:
    return {host: FULL if host.startswith(site) else HostLoad(memory=0, cpu=0.0) for host in HOSTS}


# Which way.


def test_the_rest_of_the_group_follows_a_server_that_somebody_else_moved() -> None:
    loop = after_being_whole(FOLLOW)
    (decision,) = loop.sees(lies(placed(web1="west")))
    assert (decision.rule, decision.verdict, decision.target) == ("follow-server", Verdict.DO, WEST)
    assert decision.members is None
    assert str(decision.about) == "member-moved: web1 on west/h1"
    assert decision.predicted_s is not None
    assert decision.predicted_s > 0
    assert loop.looks(lies(placed(web1="west"))).to_do() == (decision,)


def test_an_expression_that_is_not_true_of_what_moved_decides_nothing() -> None:
    assert after_being_whole(FOLLOW).sees(lies(placed(lb="west"))) == []


def test_of_several_that_moved_the_one_of_which_the_expression_is_true_counts() -> None:
    (decision,) = after_being_whole(FOLLOW).sees(lies(placed(lb="west", web2="west")))
    assert decision.about.member == WEB2


def test_what_was_moved_is_brought_back_alone() -> None:
    (decision,) = after_being_whole(BACK).sees(lies(placed(web1="west", lb="west/h2")))
    assert (decision.verdict, decision.target) == (Verdict.DO, EAST)
    assert decision.members == frozenset({WEB1, LB})


def test_seen_split_from_the_beginning_the_service_is_where_most_of_it_is() -> None:
    (decision,) = Loop(rules(BACK)).sees(lies(placed(all="west", web1="south")))
    assert (decision.target, decision.members) == (WEST, frozenset({WEB1}))


def test_where_it_was_whole_last_counts_for_more_than_where_most_of_it_is() -> None:
    (decision,) = after_being_whole(BACK).sees(lies(placed(all="west", web1="east")))
    assert decision.target == EAST
    assert decision.members == frozenset(placed()) - {WEB1}


def test_a_service_that_is_whole_again_elsewhere_belongs_there_from_then_on() -> None:
    loop = after_being_whole(BACK)
    loop.sees(lies(placed(web1="west")))
    loop.sees(lies(placed(all="west")))
    (decision,) = loop.sees(lies(placed(all="west", web2="east")), after=100)
    assert (decision.target, decision.members) == (WEST, frozenset({WEB2}))


def test_members_gone_to_two_sites_are_not_followed() -> None:
    (decision,) = after_being_whole(FOLLOW).sees(lies(placed(web1="west", web2="south")))
    assert decision.verdict is Verdict.CANNOT
    assert decision.reasons == ("members went to south and west: it is not known whom to follow",)


def test_who_is_on_a_host_that_is_evacuated_goes_to_another_one_of_the_site() -> None:
    where = placed(web2="east/h2", lb="west")
    (decision,) = Loop(rules(LEAVE)).sees(lies(where), hosts=MAINTAINED, loads=usable())
    assert (decision.verdict, decision.target, decision.leaves) == (Verdict.DO, EAST, H1)
    assert str(decision.about) == "host-maintenance: on east/h1"
    assert decision.to_json()["leaves"] == "east/h1"
    request = decision.request(INFRASTRUCTURE)
    assert (request.target, request.onto) == (EAST, frozenset({HostId("east/h2")}))
    moved = plan_of(request, where)
    assert moved.placement == dict.fromkeys((RT, FW, WEB1), HostId("east/h2"))
    assert (moved.moves_ingress, moved.predicted()["total_s"]) == (False, decision.predicted_s)


def test_evacuating_takes_the_nearest_site_that_is_up_if_the_site_has_no_room() -> None:
    no_room = full("east")
    (decision,) = after_being_whole(LEAVE).sees(lies(), hosts=MAINTAINED, loads=no_room)
    assert (decision.verdict, decision.target, decision.members, decision.leaves) == (Verdict.DO, SOUTH, None, None)
    assert decision.reasons[:2] == (
        "to other hosts of east: no-room: fw needs 134 MB and 0.25 cores",
        "to other hosts of east: no-room: east/h2 has 0 B and 0 cores left",
    )
    lost = {SOUTH: SiteState.LOST}
    (decision,) = after_being_whole(LEAVE).sees(lies(), hosts=MAINTAINED, sites=lost, loads=no_room)
    assert decision.target == WEST


def test_evacuating_a_site_of_which_every_host_is_to_be_left_takes_another_site() -> None:
    all_of_east = {host: HostState.MAINTENANCE for host in HOSTS if site_of(host) == EAST}
    (decision,) = after_being_whole(LEAVE).sees(lies(), hosts=all_of_east, loads=usable(*all_of_east))
    assert (decision.verdict, decision.target, decision.leaves) == (Verdict.DO, SOUTH, None)


def test_evacuating_goes_on_to_the_next_site_where_there_is_no_room() -> None:
    no_room = {**full("south"), HostId("east/h2"): FULL}
    (decision,) = after_being_whole(LEAVE).sees(lies(), hosts=MAINTAINED, loads=no_room)
    assert (decision.verdict, decision.target) == (Verdict.DO, WEST)


def test_evacuating_for_no_host_moves_the_whole_group_to_another_site() -> None:
    (decision,) = after_being_whole("flee: {when: always, if: service.whole, do: evacuate}").sees(lies())
    assert (decision.target, decision.leaves) == (SOUTH, None)


def test_evacuating_to_a_site_that_the_rule_names_takes_that_or_none() -> None:
    to_west = "leave: {when: host-maintenance, do: evacuate, to: west}"
    (decision,) = after_being_whole(to_west).sees(lies(), hosts=MAINTAINED)
    assert decision.target == WEST
    (decision,) = after_being_whole(to_west).sees(lies(), hosts=MAINTAINED, loads=full("west"))
    assert (decision.verdict, decision.target) == (Verdict.CANNOT, None)


def test_evacuating_without_another_site_cannot() -> None:
    lost = {SOUTH: SiteState.LOST, WEST: SiteState.UNREACHABLE}
    (decision,) = after_being_whole(LEAVE).sees(lies(), hosts=MAINTAINED, sites=lost, loads=full("east"))
    assert decision.verdict is Verdict.CANNOT
    assert decision.reasons[0].startswith("to other hosts of east: no-room: ")
    assert decision.reasons[-1] == "no other site is up that east has a link to"


def test_what_the_planner_refuses_cannot_be_done_and_its_reasons_are_told() -> None:
    (decision,) = after_being_whole(FOLLOW).sees(lies(placed(web1="west")), loads=full("west"))
    assert decision.verdict is Verdict.CANNOT
    assert decision.reasons[0].startswith("to west: no-room: ")
    assert (decision.target, decision.predicted_s) == (None, None)


def test_evacuating_to_where_it_is_already_waits() -> None:
    loop = after_being_whole("home: {when: always, if: service.whole, do: evacuate, to: east}")
    (decision,) = loop.sees(lies())
    assert decision.verdict is Verdict.WAIT
    assert decision.reasons[0].startswith("to east: already-there: ")


# What counts as moved by somebody else.


def test_a_member_that_entourage_put_elsewhere_is_not_followed() -> None:
    loop = after_being_whole(FOLLOW)
    put = {WEB1: HostId("west/h1")}
    assert loop.sees(lies(placed(web1="west"), put=put)) == []
    (decision,) = loop.sees(lies(placed(web1="west/h2"), put=put))
    assert decision.verdict is Verdict.DO


def test_a_change_of_host_within_the_site_is_news_for_a_minute() -> None:
    loop = after_being_whole("tell: {when: member-moved, do: refuse}")
    (decision,) = loop.sees(lies(placed(web1="east/h2")))
    assert decision.about.host == "east/h2"
    assert len(loop.sees(lies(placed(web1="east/h2")), after=60.0)) == 1
    assert loop.sees(lies(placed(web1="east/h2")), after=0.1) == []


def test_the_host_where_a_member_was_before_can_be_asked_for() -> None:
    loop = after_being_whole("tell: {when: member-moved, if: member.previous_host == 'east/h1', do: refuse}")
    assert len(loop.sees(lies(placed(web1="west/h2")))) == 1
    assert len(loop.sees(lies(placed(web1="west/h2")), after=3600.0)) == 1
    loop = after_being_whole("tell: {when: member-moved, if: member.previous_host == 'east/h2', do: refuse}")
    assert loop.sees(lies(placed(web1="west/h2"))) == []


def test_a_member_that_came_home_by_itself_is_no_news() -> None:
    loop = after_being_whole(BACK)
    assert len(loop.sees(lies(placed(web1="west")))) == 1
    assert loop.sees(lies()) == []


# What makes a service unfit.


@pytest.mark.parametrize(
    ("copies", "reason"),
    [
        ({(WEB1, HostId("east/h1")): RunState.RUNNING}, "web1 has copies on east/h1 and west/h1"),
        ({(WEB1, HostId("east/h1")): RunState.PAUSED}, "web1 has copies on east/h1 and west/h1"),
        ({(MemberId("db"), HostId("east/h2")): RunState.RUNNING}, "db on east/h2 is no member of shop"),
        ({(LB, HostId("east/h1")): RunState.PAUSED}, "lb on east/h1 is paused"),
        ({(LB, HostId("east/h1")): RunState.FAILED}, "lb on east/h1 is failed"),
    ],
)
def test_a_service_that_is_not_as_it_should_be_is_left_alone_and_the_reason_told(
    copies: dict[tuple[MemberId, HostId], RunState], reason: str
) -> None:
    seen = lies(placed(web1="west"))
    odd = replace(seen, copies={**seen.copies, **copies})
    assert said(after_being_whole(FOLLOW).sees(odd)) == [("follow-server", "wait", (reason,))]


def test_a_member_that_runs_nowhere_is_waited_for() -> None:
    where = placed(web1="west")
    del where[RT]
    assert said(after_being_whole(FOLLOW).sees(lies(where))) == [("follow-server", "wait", ("rt runs nowhere",))]


def test_a_host_that_says_nonsense_is_a_reason_to_wait() -> None:
    odd = lies(placed(web1="west"), odd=("east/h2 says that it has 7 webs",))
    assert said(after_being_whole(FOLLOW).sees(odd)) == [
        ("follow-server", "wait", ("east/h2 says that it has 7 webs",)),
    ]


def test_while_a_move_is_under_way_nothing_else_is_begun() -> None:
    seen = lies(placed(web1="west"), is_moving=True, odd=("odd, as moves are",))
    assert said(after_being_whole(FOLLOW).sees(seen)) == [("follow-server", "wait", ("a move of it is under way",))]


def test_what_does_not_move_it_is_done_for_a_service_that_is_unfit_too() -> None:
    loop = after_being_whole("tell: {when: always, if: service.running < 5, do: refuse}")
    where = placed()
    del where[WEB1]
    assert [each.verdict for each in loop.sees(lies(where))] == [Verdict.DO]


# Several rules.


def test_of_two_rules_for_one_service_the_earlier_goes_first() -> None:
    for first, second in ((FOLLOW, BACK), (BACK, FOLLOW)):
        one, other = after_being_whole(first, second).sees(lies(placed(web1="west")))
        assert one.verdict is Verdict.DO
        assert (other.verdict, other.reasons) == (Verdict.WAIT, (f"rule {one.rule} acts on it first",))


def test_an_earlier_rule_that_cannot_makes_way_for_a_later_one() -> None:
    one, other = after_being_whole(FOLLOW, BACK).sees(lies(placed(web1="west")), loads=full("west"))
    assert [one.verdict, other.verdict] == [Verdict.CANNOT, Verdict.DO]


def test_a_rule_that_refuses_keeps_all_others_from_moving_it() -> None:
    freeze = "freeze: {when: promise-broken, do: refuse}"
    loop = after_being_whole(FOLLOW, freeze, BACK)
    assert said(loop.sees(lies(placed(web1="west"), broken_promises=("fw has not what it was promised",)))) == [
        ("follow-server", "cannot", ("rule freeze refuses it: promise-broken",)),
        ("freeze", "do", ("other rules may not move it",)),
        ("back", "cannot", ("rule freeze refuses it: promise-broken",)),
    ]
    assert [each.verdict for each in loop.sees(lies(placed(web1="west")))] == [Verdict.DO, Verdict.WAIT]


def test_a_refusal_that_is_held_back_refuses_nothing_yet_and_says_so() -> None:
    loop = after_being_whole("freeze: {when: promise-broken, do: refuse, hold: 5 s}", FOLLOW)
    seen = lies(placed(web1="west"), broken_promises=("fw",))
    held, follow = loop.sees(seen)
    assert (held.verdict, held.reasons) == (Verdict.WAIT, ("it is so for 0.0 s, and must be for 5 s",))
    assert follow.verdict is Verdict.DO
    assert [each.verdict for each in loop.sees(seen, after=5.0)] == [Verdict.DO, Verdict.CANNOT]


def test_a_refusal_outside_its_window_refuses_nothing_and_says_so() -> None:
    loop = after_being_whole("freeze: {when: promise-broken, do: refuse, within: 13:00-14:00}", FOLLOW)
    seen = lies(placed(web1="west"), broken_promises=("fw",))
    refusal, follow = loop.sees(seen)
    assert (refusal.verdict, refusal.reasons) == (Verdict.WAIT, ("its window opens Wed 13:00",))
    assert follow.verdict is Verdict.DO
    assert [each.verdict for each in loop.sees(seen, taken_at=NOON + 3600)] == [Verdict.DO, Verdict.CANNOT]


def test_a_rule_is_for_the_services_that_it_names() -> None:
    loop = Loop(rules("follow-server: {when: member-moved, do: follow, for: [shop, desk]}"))
    loop.sees(*(lies(named=name) for name in ("shop", "mail", "desk")))
    decisions = loop.sees(*(lies(placed(web1="west"), named=name) for name in ("shop", "mail", "desk")))
    assert [each.service for each in decisions] == ["shop", "desk"]


# Events and observations.

WITHOUT_WEB1 = {"copies": {copy: state for copy, state in lies().copies.items() if copy[0] != "web1"}}


@pytest.mark.parametrize(
    ("event", "seen", "more"),
    [
        ("site-lost", {}, {"sites": {EAST: SiteState.LOST}}),
        ("host-lost", WITHOUT_WEB1, {"hosts": {HostId("east/h1"): HostState.LOST}}),
        ("host-maintenance", {}, {"hosts": MAINTAINED}),
        ("licence-violated", {"licence_violations": ("fw has no seat",)}, {}),
        ("promise-broken", {"broken_promises": ("fw",)}, {}),
    ],
)
def test_each_event_lasts_for_as_long_as_it_is_so(event: str, seen: dict[str, Any], more: dict[str, Any]) -> None:
    loop = after_being_whole(f"tell: {{when: {event}, do: refuse}}")
    assert loop.sees(lies()) == []
    assert [each.about.event.value for each in loop.sees(lies(**seen), **more)] == [event]
    assert len(loop.sees(lies(**seen), **more)) == 1
    assert loop.sees(lies()) == []


@pytest.mark.parametrize(
    "more",
    [
        {"sites": {EAST: SiteState.UNREACHABLE, WEST: SiteState.LOST}},
        {"hosts": {HostId("east/h2"): HostState.LOST, HostId("west/h1"): HostState.MAINTENANCE}},
    ],
)
def test_what_happens_where_the_service_is_not_is_none_of_its_events(more: dict[str, Any]) -> None:
    events = ("site-lost", "host-lost", "host-maintenance")
    loop = after_being_whole(*(f"r{n}: {{when: {event}, do: refuse}}" for n, event in enumerate(events)))
    assert loop.sees(lies(), **more) == []


@pytest.mark.parametrize(
    ("expression", "is_true"),
    [
        ("service.id == 'shop' && service.home == 'east' && service.site == 'east'", True),
        ("service.members == 5 && service.running == 5 && service.away == 1 && !service.whole", True),
        ("service.ingress == 'east'", True),
        ("path.crossings > 0 && path.rtt_ms > 100.0 && path.delivered", True),
        ("path.crossings == 0", False),
        ("path.bytes_per_hour > 4e9", True),
        ("licence.violations == 2 && licence.free == 3 && promise.broken == 1", True),
        ("now.hour == 14 && now.minute == 0 && now.weekday == 2", True),
        ("member.id == '' && host.id == '' && site.id == ''", True),
        ("service.settled_s < 0.5", True),
        ("service.settled_s > 0.5", False),
    ],
)
def test_what_expressions_see(expression: str, is_true: bool) -> None:
    loop = after_being_whole(f'tell: {{when: always, if: "{expression}", do: refuse}}', top="timezone: Europe/Berlin")
    seen = lies(
        placed(web1="west", web2="east"),
        stretched={segment.id: frozenset({EAST, WEST}) for segment in SHOP.segments if segment.gateway is None},
        bytes_per_hour=5e9,
        licence_violations=("one", "other"),
        free_licences=3,
        broken_promises=("fw",),
    )
    assert bool(loop.sees(seen)) is is_true


def test_an_expression_that_cannot_be_evaluated_is_told_and_nothing_is_done() -> None:
    expression = "100 / (licence.free - 70 - 7) > 1"  # which the trials of the reader do not meet
    loop = after_being_whole(f'tell: {{when: always, if: "{expression}", do: evacuate}}')
    (decision,) = loop.sees(lies(free_licences=77))
    assert (decision.verdict, decision.reasons) == (Verdict.CANNOT, (f"{expression}: divides by zero",))


def test_a_schedule_is_true_for_ten_minutes_in_the_rules_zone() -> None:
    loop = after_being_whole("nightly: {when: schedule, at: wed 14:00, do: refuse}", top="timezone: Europe/Berlin")
    for minutes, is_true in ((-1, False), (0, True), (9, True), (10, False), (24 * 60, False), (7 * 24 * 60, True)):
        assert bool(loop.sees(lies(), taken_at=NOON + 60.0 * minutes)) is is_true, minutes


def test_a_decision_is_kept_as_plain_data() -> None:
    (decision,) = after_being_whole(BACK).sees(lies(placed(web1="west")))
    document = decision.to_json()
    assert document == {
        "rule": "back",
        "service": "shop",
        "action": "bring-back",
        "verdict": "do",
        "about": "member-moved: web1 on west/h1",
        "reasons": list(decision.reasons),
        "target": "east",
        "members": ["web1"],
        "leaves": None,
        "predicted_s": decision.predicted_s,
    }


def test_a_service_that_nobody_sees_is_not_decided_on() -> None:
    decided = decide(
        view(lies()), rules("r: {when: always, if: service.whole, do: refuse}"), Memory(), only=[ServiceId("gone")]
    )
    assert decided.decisions == ()
    assert decided.memory == Memory()
