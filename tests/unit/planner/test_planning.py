"""Which plan the planner makes of a request, and what it says instead of one."""

import json
from dataclasses import replace

import planner_world as world
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entourage.model.ids import HostId, MemberId, SegmentId, ServiceId, SiteId
from entourage.model.realtime import Promise, RealtimeCpus, Reservation
from entourage.model.world import Snapshot
from entourage.planner import CaveatCode, Code, HostLoad, MoveRequest, Outlook, Plan, Refusal, StepKind, Strategy
from entourage.ports.hypervisor import Capability

K = StepKind
STRATEGIES = st.sampled_from(Strategy)
SOME_MEMBERS = st.frozensets(st.sampled_from(world.MEMBERS), min_size=1)
DIRTY = st.dictionaries(st.sampled_from(world.MEMBERS), st.floats(0, 3e6))


def kinds(plan: Plan) -> list[StepKind]:
    return [step.kind for step in plan.steps]


def test_a_whole_group_is_switched_in_the_order_of_the_protocol() -> None:
    plan = world.planned(world.snapshot(dirty={world.WEB1: 1e6}), world.request())
    assert plan.strategy is Strategy.GROUP
    assert kinds(plan) == [
        *[K.PREPARE] * 5, K.STAGE, *[K.COPY] * 5, K.HOLD, K.REFRESH, K.STOP, K.TUNNEL, K.DRAIN, K.COMMIT, K.FLIP,
        K.RESUME, K.VERIFY, K.WITHDRAW, K.UNTUNNEL, K.CLEANUP,
    ]  # fmt: skip
    assert plan.stretch == ()
    assert plan.cannot_promise == ()
    assert [change.after.inter_site_crossings for change in plan.paths] == [0, 0]
    assert plan.order[-1] == world.WEB1
    assert plan.verdict.code is Code.OK


def test_servers_alone_need_one_segment_stretched_for_good_and_cost_every_region_a_round_trip() -> None:
    plan = world.planned(world.snapshot(), world.request(members=world.SERVERS))
    assert plan.moves_ingress is False
    (stretch,) = plan.stretch
    assert (str(stretch.segment), stretch.sites, stretch.stays) == ("inside", frozenset({world.EAST, world.WEST}), True)
    assert K.STRETCH in kinds(plan)
    assert not {K.STAGE, K.TUNNEL, K.FLIP, K.WITHDRAW, K.UNSTRETCH} & set(kinds(plan))
    assert [(c.before.added_ms, c.after.added_ms, c.after.inter_site_crossings) for c in plan.paths] == [
        (0.0, 50.0, 2),
        (0.0, 50.0, 2),
    ]
    assert [caveat.code for caveat in plan.cannot_promise] == [CaveatCode.SPLIT_AFTERWARDS]


def test_the_path_of_a_shared_stage_is_that_of_its_worst_member() -> None:
    plan = world.planned(world.snapshot(), world.request(members=frozenset({world.WEB2})))
    assert [change.after.hops[-1].name for change in plan.paths] == ["web2", "web2"]


def test_bringing_servers_home_ends_the_stretch() -> None:
    split = world.snapshot(at=dict.fromkeys(world.SERVERS, world.WEST))
    both = frozenset({world.EAST, world.WEST})
    plan = world.outcome(
        split,
        world.request(target=world.EAST, members=world.SERVERS),
        stretched={SegmentId("inside"): both},
    )
    assert isinstance(plan, Plan)
    assert [step.segment for step in plan.steps if step.kind is K.UNSTRETCH] == ["inside"]
    assert K.STRETCH not in kinds(plan)
    assert [(change.before.added_ms, change.after.added_ms) for change in plan.paths] == [(50.0, 0.0), (50.0, 0.0)]


def test_the_rest_of_a_split_service_is_moved_without_what_is_there_already() -> None:
    split = world.snapshot(at=dict.fromkeys(world.SERVERS, world.WEST))
    plan = world.planned(split, world.request())
    assert set(plan.placement) == {world.RT, world.FW, world.LB}
    assert plan.moves_ingress is True


def test_serial_migrates_singly_and_turns_the_ingress_right_after_the_router() -> None:
    plan = world.planned(world.snapshot(), world.request(strategy=Strategy.SERIAL))
    migrated = [step for step in plan.steps if step.kind is K.MIGRATE]
    assert [len(step.members) for step in migrated] == [1] * 5
    after_router = plan.steps.index(next(step for step in migrated if step.members == (world.RT,))) + 1
    assert [step.kind for step in plan.steps[after_router : after_router + 2]] == [K.TUNNEL, K.FLIP]
    assert K.COMMIT not in kinds(plan)


def test_serial_and_parallel_stretch_every_inner_segment_until_the_move_is_over() -> None:
    for strategy in (Strategy.SERIAL, Strategy.PARALLEL):
        plan = world.planned(world.snapshot(), world.request(strategy=strategy))
        assert [(each.segment, each.stays) for each in plan.stretch] == [
            ("outside", False), ("dmz", False), ("inside", False),
        ]  # fmt: skip
        assert kinds(plan).count(K.STRETCH) == kinds(plan).count(K.UNSTRETCH) == 3
        assert [c.worst_meanwhile.is_trombone for c in plan.paths if c.worst_meanwhile] == [True, True]


def test_serial_cannot_promise_what_its_figures_contradict() -> None:
    plan = world.planned(world.snapshot(), world.request(strategy=Strategy.SERIAL))
    assert [caveat.code for caveat in plan.cannot_promise] == [
        CaveatCode.NO_WAY_BACK,
        CaveatCode.NOT_ALIGNED,
        CaveatCode.SPLIT_MEANWHILE,
    ]
    assert plan.forecast.split_ms > 10_000


def test_without_what_a_group_switch_needs_the_next_best_is_chosen_and_the_plan_says_why() -> None:
    plan = world.planned(world.snapshot(), world.request(), can=world.ONLY_MIGRATE)
    assert plan.strategy is Strategy.PARALLEL
    assert "group needs hold, aligned_stop" in plan.strategy_reason
    assert "driver of fw" in plan.strategy_reason


def test_serial_is_what_is_left_when_the_members_dirty_too_much_together_but_not_alone() -> None:
    dirty = dict.fromkeys(world.MEMBERS, 10e6)
    plan = world.planned(world.snapshot(dirty=dirty), world.request())
    assert plan.strategy is Strategy.SERIAL
    assert "the members dirty 400 Mbit/s together" in plan.strategy_reason


def test_a_strategy_that_was_asked_for_is_refused_rather_than_replaced() -> None:
    refusal = world.outcome(world.snapshot(), world.request(strategy=Strategy.GROUP), can=world.ONLY_MIGRATE)
    assert isinstance(refusal, Refusal)
    assert refusal.verdict.code is Code.CAPABILITY_MISSING
    assert refusal.verdict.code.outlook is Outlook.FIXABLE


def test_a_member_with_a_disk_needs_a_driver_that_takes_it_along() -> None:
    snapshot = world.snapshot()
    members = tuple(replace(m, disk=64 << 20) if m.id == world.WEB1 else m for m in snapshot.service.members)
    with_disk = replace(snapshot, service=replace(snapshot.service, members=members))
    refusal = world.outcome(with_disk, world.request(), can=world.EVERYTHING - {Capability.MIRROR_DISK})
    assert isinstance(refusal, Refusal)
    assert "group needs mirror_disk, which the driver of web1 cannot do" in refusal.verdict.reasons[0]
    plan, diskless = world.planned(with_disk, world.request()), world.planned(snapshot, world.request())
    assert plan.forecast.copy_s > diskless.forecast.copy_s


def promising(snapshot: Snapshot, *members: MemberId, latency_p999_s: float | None = None) -> Snapshot:
    """Those are promised 1 of 5 ms for each thread, and every host has one CPU to promise."""
    one = Reservation(budget_us=1000, period_us=5000)
    promised = tuple(
        replace(m, realtime=Promise(cpu=one, io=one)) if m.id in members else m for m in snapshot.service.members
    )
    sites = tuple(
        replace(site, hosts=tuple(replace(host, realtime=RealtimeCpus(cpus=(0,))) for host in site.hosts))
        for site in snapshot.infrastructure.sites
    )
    return replace(
        snapshot,
        infrastructure=replace(snapshot.infrastructure, sites=sites),
        service=replace(snapshot.service, members=promised, latency_p999_s=latency_p999_s),
    )


def test_a_member_that_is_promised_cpu_time_needs_a_driver_that_can_promise() -> None:
    promised = promising(world.snapshot(), world.FW)
    assert isinstance(world.outcome(promised, world.request()), Plan)
    refusal = world.outcome(promised, world.request(), can=world.EVERYTHING - {Capability.REALTIME})
    assert isinstance(refusal, Refusal)
    assert "group needs realtime, which the driver of fw cannot do" in refusal.verdict.reasons[0]


def test_a_promised_latency_is_kept_at_the_target_or_the_move_is_refused() -> None:
    # Two on one host and one on the other, I/O threads first: those wait for 2 and 1 ms, the virtual CPUs for 4 and 2.
    chain = (world.RT, world.FW, world.LB)
    assert isinstance(world.outcome(promising(world.snapshot(), *chain, latency_p999_s=0.040), world.request()), Plan)
    refusal = world.outcome(promising(world.snapshot(), *chain, latency_p999_s=0.0399), world.request())
    assert isinstance(refusal, Refusal)
    assert refusal.verdict.code is Code.LATENCY
    assert refusal.verdict.reasons == (
        "the appliances may add 40 ms there and back, and 39.9 ms are promised; most of it lb on west/h1",
        "rt on west/h2 may add 8 ms",
        "fw on west/h1 may add 16 ms",
        "lb on west/h1 may add 16 ms",
    )


def test_a_latency_is_not_promised_by_a_member_that_is_promised_nothing() -> None:
    without = promising(world.snapshot(), world.RT, world.FW, latency_p999_s=1.0)
    refusal = world.outcome(without, world.request())
    assert isinstance(refusal, Refusal)
    assert refusal.verdict.reasons == (
        "lb is promised no real-time CPU on west/h1: nothing can be said of how long packets wait there",
    )


def test_a_link_that_memory_outruns_is_refused_with_both_rates() -> None:
    dirty = {world.WEB1: 30e6}
    refusal = world.outcome(world.snapshot(dirty=dirty), world.request())
    assert isinstance(refusal, Refusal)
    assert refusal.verdict.code is Code.LINK_TOO_SLOW
    assert refusal.verdict.reasons == (
        "the members dirty 240 Mbit/s together and the link east–west carries 180 Mbit/s of its 200 Mbit/s: "
        "copying never catches up",
    )


def test_no_room_names_the_member_and_what_every_host_has_left() -> None:
    full = HostLoad(memory=2000 * world.MIB, cpu=0.5)
    refusal = world.outcome(world.snapshot(), world.request(), loads={world.H1: full, world.H2: full})
    assert isinstance(refusal, Refusal)
    assert refusal.verdict.code is Code.NO_ROOM
    assert refusal.verdict.reasons == (
        "fw needs 134 MB and 0.25 cores",
        "west/h1 has 50.3 MB and 1.5 cores left",
        "west/h2 has 50.3 MB and 1.5 cores left",
    )


def test_everything_that_stands_against_a_request_is_said_at_once() -> None:
    refusal = world.outcome(
        world.snapshot(dirty={world.WEB1: 30e6}), world.request(), loads={}, can=frozenset({Capability.HOLD})
    )
    assert isinstance(refusal, Refusal)
    assert [v.code for v in refusal.verdicts] == [Code.NO_ROOM, Code.CAPABILITY_MISSING, Code.LINK_TOO_SLOW]


def _without(member: MemberId) -> dict[MemberId, HostId]:
    return {m: host for m, host in world.snapshot().placement.items() if m != member}


def _apart() -> dict[MemberId, SiteId]:
    return dict.fromkeys(world.MEMBERS, world.WEST)


@pytest.mark.parametrize(
    ("snapshot", "wanted", "code", "outlook"),
    [
        (world.snapshot(), replace(world.request(), service=ServiceId("x")), Code.UNKNOWN_SERVICE, Outlook.HOPELESS),
        (world.snapshot(), world.request(target=SiteId("north")), Code.UNKNOWN_SITE, Outlook.HOPELESS),
        (
            world.snapshot(),
            world.request(members=frozenset({MemberId("web3")})),
            Code.UNKNOWN_MEMBER,
            Outlook.HOPELESS,
        ),
        (world.snapshot(), world.request(members=frozenset()), Code.UNKNOWN_MEMBER, Outlook.HOPELESS),
        (world.snapshot(), world.request(target=world.EAST), Code.ALREADY_THERE, Outlook.NOTHING_TO_DO),
        (world.snapshot(at=_apart()), world.request(), Code.INGRESS_ELSEWHERE, Outlook.FIXABLE),
        (replace(world.snapshot(), placement=_without(world.FW)), world.request(), Code.NOT_RUNNING, Outlook.FIXABLE),
        (world.snapshot(link=None), world.request(), Code.NO_LINK, Outlook.HOPELESS),
    ],
    ids=lambda value: value.value if isinstance(value, Code) else "",
)
def test_each_reason_against_a_move_has_its_code(
    snapshot: Snapshot, wanted: MoveRequest, code: Code, outlook: Outlook
) -> None:
    refusal = world.outcome(snapshot, wanted)
    assert isinstance(refusal, Refusal)
    assert (refusal.verdict.code, refusal.verdict.code.outlook) == (code, outlook)
    assert refusal.verdict.reasons


def test_a_move_that_would_cut_the_path_is_refused() -> None:
    # The firewall's only segment in common with the router becomes the ingress segment, which is never stretched.
    shop = world.snapshot()
    gateway = shop.service.segments[0].gateway
    segments = tuple(
        replace(s, gateway=gateway if s.id == "outside" else None) for s in shop.service.segments if s.id != "transit"
    )
    cut = replace(shop, service=replace(shop.service, segments=segments))
    refusal = world.outcome(cut, world.request(members=frozenset({world.FW})))
    assert isinstance(refusal, Refusal)
    assert refusal.verdict.code is Code.PATH_BROKEN
    assert "segment-not-stretched" in refusal.verdict.reasons[0]


@given(members=SOME_MEMBERS, strategy=STRATEGIES, dirty=DIRTY)
def test_a_plan_is_the_same_every_time_and_can_be_written_as_json(
    members: frozenset[MemberId], strategy: Strategy, dirty: dict[MemberId, float]
) -> None:
    wanted = world.request(members=members, strategy=strategy)
    first = world.planned(world.snapshot(dirty=dirty), wanted)
    second = world.planned(world.snapshot(dirty=dirty), wanted)
    assert json.dumps(first.to_json(), allow_nan=False) == json.dumps(second.to_json(), allow_nan=False)


@given(members=st.none() | SOME_MEMBERS, dirty=DIRTY)
def test_a_group_plan_prepares_before_it_stops_commits_after_it_drained_and_withdraws_last(
    members: frozenset[MemberId] | None, dirty: dict[MemberId, float]
) -> None:
    plan = world.planned(world.snapshot(dirty=dirty), world.request(members=members, strategy=Strategy.GROUP))
    order = kinds(plan)
    moved = set(plan.placement)
    for kind in (K.STOP, K.DRAIN, K.RESUME):
        assert [set(step.members) for step in plan.steps if step.kind is kind] == [moved]
    assert {m for step in plan.steps[: order.index(K.STOP)] if step.kind is K.PREPARE for m in step.members} == moved
    assert order.index(K.STOP) < order.index(K.DRAIN) < order.index(K.COMMIT) < order.index(K.RESUME)
    assert plan.moves_ingress == (world.RT in moved)
    if plan.moves_ingress:
        assert order.index(K.STAGE) < order.index(K.STOP) < order.index(K.TUNNEL) < order.index(K.FLIP)
        assert order.index(K.COMMIT) < order.index(K.FLIP)
        assert set(order[order.index(K.WITHDRAW) + 1 :]) <= {K.UNTUNNEL, K.UNSTRETCH, K.CLEANUP}


@given(members=SOME_MEMBERS, strategy=STRATEGIES)
def test_every_member_is_prepared_copied_and_cleaned_up_exactly_once(
    members: frozenset[MemberId], strategy: Strategy
) -> None:
    plan = world.planned(world.snapshot(), world.request(members=members, strategy=strategy))
    for wanted in ({K.PREPARE}, {K.COPY, K.MIGRATE}, {K.CLEANUP}):
        assert sorted(m for step in plan.steps if step.kind in wanted for m in step.members) == sorted(members)


@given(members=SOME_MEMBERS, strategy=STRATEGIES)
def test_every_region_is_served_after_a_move_and_crosses_only_if_the_service_is_left_split(
    members: frozenset[MemberId], strategy: Strategy
) -> None:
    plan = world.planned(world.snapshot(), world.request(members=members, strategy=strategy))
    whole = members == set(world.MEMBERS)
    for change in plan.paths:
        assert change.after.is_delivered
        assert change.after.is_trombone == (not whole)
    assert any(caveat.code is CaveatCode.SPLIT_AFTERWARDS for caveat in plan.cannot_promise) == (not whole)
    assert all(each.stays for each in plan.stretch) or strategy is not Strategy.GROUP


def test_a_plan_says_whose_memory_crosses_the_link_in_the_clear() -> None:
    readable = world.EVERYTHING - {Capability.ENCRYPTED}
    plan = world.planned(world.snapshot(), world.request(), can=readable)
    (caveat,) = plan.cannot_promise
    assert caveat.code is CaveatCode.NOT_ENCRYPTED
    assert "the memory of" in caveat.text
