"""Advice on a service: which course is the best, in which order the others come, and why."""

import math
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from planner_world import (
    EAST,
    EMPTY,
    EVERYTHING,
    FW,
    H1,
    H2,
    LB,
    MEMBERS,
    MIB,
    RT,
    SERVERS,
    USERS_EAST,
    USERS_WEST,
    WEB1,
    WEB2,
    WEST,
    snapshot,
)

from entourage.model.ids import HostId, MemberId, SegmentId, SiteId
from entourage.model.world import Region, Snapshot
from entourage.planner import HostLoad
from entourage.planner.advice import Advice, Course, Option, advise

BOTH = frozenset({EAST, WEST})
STRETCHED = {SegmentId(name): BOTH for name in ("outside", "dmz", "inside")}
SPLIT: Mapping[MemberId, SiteId] = dict.fromkeys(SERVERS, WEST)


def users(world: Snapshot, *, near: SiteId) -> Snapshot:
    """All users are near that site."""
    regions = tuple(Region(id=region.id, near=near, rtt=5.0) for region in world.infrastructure.regions)
    return replace(world, infrastructure=replace(world.infrastructure, regions=regions))


def advised(
    world: Snapshot,
    *,
    loads: Mapping[HostId, HostLoad] | None = None,
    stretched: Mapping[SegmentId, frozenset[SiteId]] = STRETCHED,
    carried: float | None = None,
) -> Advice:
    empty = {host.id: EMPTY for site in world.infrastructure.sites for host in site.hosts}
    return advise(
        world,
        loads=empty if loads is None else loads,
        capabilities=dict.fromkeys(MEMBERS, EVERYTHING),
        stretched=stretched,
        in_use={},
        carried=carried,
    )


def named(advice: Advice, name: str) -> Option:
    return next(option for option in advice.options if option.name == name)


FULL_WEST = {
    HostId("east/h1"): EMPTY,
    HostId("east/h2"): EMPTY,
    **{host: HostLoad(memory=2048 * MIB, cpu=2.0) for host in (H1, H2)},
}


def test_whole_where_half_of_the_users_are_it_stays_and_moving_is_said_to_gain_nothing() -> None:
    advice = advised(snapshot())
    assert (advice.best.course, advice.best.members) == (Course.LEAVE, 0)
    assert [option.name for option in advice.options] == ["leave", "move to west"]
    (why,) = advice.why
    assert why.startswith("move to west gains users nothing, and costs a blackout of ")


def test_whole_far_from_all_users_it_is_to_move_to_them() -> None:
    advice = advised(users(snapshot(), near=WEST))
    assert (advice.best.course, advice.best.target, advice.best.members) == (Course.MOVE, WEST, 5)
    assert advice.best.rtt_ms == {USERS_EAST: 5.0, USERS_WEST: 5.0}
    assert (advice.best.blackout_ms > 0, advice.best.predicted_s > 0, advice.best.copied > 0) == (True, True, True)
    assert advice.why == ("with leave users would wait 50.0 ms longer for an answer, on average",)


def test_whole_where_all_users_are_it_stays() -> None:
    advice = advised(users(snapshot(), near=EAST))
    assert advice.best.course is Course.LEAVE
    assert advice.why == ("with move to west users would wait 50.0 ms longer for an answer, on average",)


def test_split_it_is_not_left_so() -> None:
    advice = advised(snapshot(at=SPLIT))
    assert advice.best.course in (Course.MOVE, Course.BRING_BACK)
    assert {option.name for option in advice.options} == {"leave", "move to west", "bring-back to east"}
    assert any(reason.startswith("with leave users would wait ") for reason in advice.why)


def test_split_the_server_is_brought_back_where_its_group_is_near_the_users() -> None:
    advice = advised(users(snapshot(at=SPLIT), near=EAST))
    assert (advice.best.course, advice.best.target, advice.best.members) == (Course.BRING_BACK, EAST, 2)


def test_split_the_group_follows_its_servers_where_the_users_are_near_these() -> None:
    advice = advised(users(snapshot(at=SPLIT), near=WEST))
    assert (advice.best.course, advice.best.target, advice.best.members) == (Course.MOVE, WEST, 3)


def test_what_has_no_room_is_not_advised_and_the_reason_told() -> None:
    advice = advised(users(snapshot(), near=WEST), loads=FULL_WEST)
    assert advice.best.course is Course.LEAVE
    refused = named(advice, "move to west")
    assert refused is advice.options[-1]
    assert refused.refused
    (why,) = advice.why
    assert why == f"move to west cannot be done: {'; '.join(refused.refused)}"
    assert "MB" in why


def test_split_with_no_room_for_the_better_course_the_other_is_advised() -> None:
    advice = advised(users(snapshot(at=SPLIT), near=WEST), loads=FULL_WEST)
    assert advice.best.name == "bring-back to east"
    assert [option.name for option in advice.options] == ["bring-back to east", "leave", "move to west"]


def test_a_service_that_nobody_reaches_is_to_be_made_whole() -> None:
    advice = advised(snapshot(at=SPLIT), stretched={})
    leave = named(advice, "leave")
    assert all(math.isinf(rtt) for rtt in leave.rtt_ms.values())
    assert advice.best.course is not Course.LEAVE
    assert "with leave requests of some region are not answered" in advice.why
    assert set(_rtts(leave.to_json())) == {None}


def _rtts(document: dict[str, object]) -> list[object]:
    found = document["rtt_ms"]
    assert isinstance(found, dict)
    return list(found.values())


def test_a_service_that_nobody_reaches_and_nothing_can_be_done_about_is_left() -> None:
    full = {**FULL_WEST, **{HostId(f"east/h{n}"): HostLoad(memory=2048 * MIB, cpu=2.0) for n in (1, 2)}}
    advice = advised(snapshot(at=SPLIT), stretched={}, loads=full)
    assert advice.best.course is Course.LEAVE
    assert all(option.refused for option in advice.options[1:])
    assert all("cannot be done" in reason for reason in advice.why)


def test_what_crosses_between_the_sites_is_counted_in_an_hour() -> None:
    advice = advised(snapshot(at=SPLIT), carried=1e6)
    leave = named(advice, "leave")
    assert leave.crossings == 2  # what a user sends and gets crosses once: there, and back
    assert leave.bytes_per_hour == 3.6e9
    assert advice.best.bytes_per_hour == 0.0


def test_without_a_measurement_nothing_is_said_of_bytes() -> None:
    advice = advised(snapshot(at=SPLIT))
    assert [option.bytes_per_hour for option in advice.options] == [None, None, None]
    assert [option.to_json()["inter_site_bytes_per_hour"] for option in advice.options] == [None, None, None]


def test_every_option_but_the_best_has_its_reason_in_their_order() -> None:
    advice = advised(snapshot(at=SPLIT), carried=1e6)
    assert len(advice.why) == len(advice.options) - 1
    for option, reason in zip(advice.options[1:], advice.why, strict=True):
        assert option.name in reason


def test_an_option_as_json() -> None:
    found = advised(users(snapshot(), near=WEST), carried=0.0).best.to_json()
    assert found["option"] == "move to west"
    assert (found["target"], found["members"], found["refused"]) == (WEST, 5, [])
    assert found["rtt_ms"] == {USERS_EAST: 5.0, USERS_WEST: 5.0}
    assert found["inter_site_bytes_per_hour"] == 0.0


@given(
    at=st.fixed_dictionaries({member: st.sampled_from([EAST, WEST]) for member in (RT, FW, LB, WEB1, WEB2)}),
    full=st.frozensets(st.sampled_from(["east/h1", "east/h2", "west/h1", "west/h2"])),
    near=st.sampled_from([EAST, WEST, None]),
    ingress=st.sampled_from([EAST, WEST]),
    is_stretched=st.booleans(),
    carried=st.sampled_from([None, 0.0, 1.0, 1e6]),
)
def test_what_is_refused_or_gains_nothing_is_never_advised(
    at: dict[MemberId, SiteId],
    full: frozenset[str],
    near: SiteId | None,
    ingress: SiteId,
    is_stretched: bool,
    carried: float | None,
) -> None:
    world = snapshot(at=at, ingress=ingress)
    if near is not None:
        world = users(world, near=near)
    loads = {
        host.id: HostLoad(memory=host.memory, cpu=host.cpu) if host.id in full else EMPTY
        for site in world.infrastructure.sites
        for host in site.hosts
    }
    advice = advised(world, loads=loads, stretched=STRETCHED if is_stretched else {}, carried=carried)
    leave, best = named(advice, "leave"), advice.best
    assert len({option.name for option in advice.options}) == len(advice.options)
    assert not best.refused
    if best is not leave:
        fewer = (leave.bytes_per_hour or 0.0) > (best.bytes_per_hour or 0.0)
        assert leave.mean_rtt_ms > best.mean_rtt_ms or fewer
        assert math.isfinite(best.mean_rtt_ms)
    for other in advice.options:
        if not other.refused:
            assert best.mean_rtt_ms <= other.mean_rtt_ms + 1.0 or best is leave
