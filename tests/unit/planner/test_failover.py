"""Where the members of a lost site are started, from which data, and why that cannot be."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planner_world import EAST, EMPTY, FW, H1, H2, LB, LINK, MEMBERS, MIB, RT, SHOP, WEB1, WEB2, WEST, snapshot

from entourage.model.ids import HostId, MemberId, SiteId, site_of
from entourage.model.world import Host, Infrastructure, InterSiteLink, Site, Snapshot
from entourage.planner import Code, HostLoad, Outlook, Refusal
from entourage.planner.failover import FailoverPlan, FailoverRequest, plan_failover, plan_from_json

NORTH = SiteId("north")
ALL_REPLICATED = {(WEB1, H1): 100.0, (WEB1, H2): 200.0, (WEB2, H1): 150.0}


def lost_world(
    *,
    running: Mapping[MemberId, str] | None = None,
    hosts: tuple[tuple[int, float], ...] = ((2048 * MIB, 2.0), (2048 * MIB, 2.0)),
    sizes: Mapping[MemberId, tuple[int, float]] | None = None,
    disks: frozenset[MemberId] = frozenset({WEB1, WEB2}),
) -> Snapshot:
    """East is lost: nothing runs but what `running` says. Servers have disks. There is a third site, north."""
    world = snapshot(hosts=hosts, sizes=sizes)
    members = tuple(replace(m, disk=16 * MIB if m.id in disks else 0) for m in world.service.members)
    north = Site(id=NORTH, hosts=(Host(id=HostId("north/h1"), memory=2048 * MIB, cpu=2.0),))
    link = InterSiteLink(sites=(NORTH, WEST), rtt=10.0, rate=200e6)
    infrastructure = Infrastructure(
        sites=(*world.infrastructure.sites, north), links=(LINK, link), regions=world.infrastructure.regions
    )
    return replace(
        world,
        infrastructure=infrastructure,
        service=replace(world.service, members=members),
        placement={member: HostId(host) for member, host in (running or {}).items()},
    )


def outcome(
    world: Snapshot,
    *,
    target: SiteId = WEST,
    without_data: bool = False,
    replicas: Mapping[tuple[MemberId, HostId], float] | None = None,
    loads: Mapping[HostId, HostLoad] | None = None,
) -> FailoverPlan | Refusal:
    empty = {host.id: EMPTY for site in world.infrastructure.sites for host in site.hosts}
    return plan_failover(
        world,
        FailoverRequest(service=SHOP, lost=EAST, target=target, without_data=without_data, ingress_first=True),
        loads=empty if loads is None else loads,
        replicas=ALL_REPLICATED if replicas is None else replicas,
    )


def planned(world: Snapshot, **more: object) -> FailoverPlan:
    found = outcome(world, **more)  # type: ignore[arg-type]
    assert isinstance(found, FailoverPlan), found.to_json()
    return found


def refused(world: Snapshot, **more: object) -> tuple[Code, str]:
    found = outcome(world, **more)  # type: ignore[arg-type]
    assert isinstance(found, Refusal)
    (verdict,) = found.verdicts
    assert verdict.said_by == "failover"
    return verdict.code, "; ".join(verdict.reasons)


def test_members_with_a_disk_start_at_their_freshest_replica_and_the_others_anywhere_at_the_target() -> None:
    plan = planned(lost_world())
    assert (plan.placement[WEB1], plan.placement[WEB2]) == (H2, H1)
    assert plan.data == {WEB1: 200.0, WEB2: 150.0}
    assert set(plan.placement) == set(MEMBERS)
    assert {site_of(host) for host in plan.placement.values()} == {WEST}
    assert (plan.service, plan.lost, plan.target, plan.ingress_first) == (SHOP, EAST, WEST, True)


def test_a_replica_at_another_site_is_no_replica_at_the_target() -> None:
    elsewhere = {(WEB1, HostId("north/h1")): 900.0, (WEB1, H1): 100.0, (WEB2, H1): 150.0}
    plan = planned(lost_world(), replicas=elsewhere)
    assert (plan.placement[WEB1], plan.data[WEB1]) == (H1, 100.0)


def test_without_a_replica_it_is_refused_and_said_whose_and_what_to_write() -> None:
    code, reason = refused(lost_world(), replicas={(WEB1, H1): 1.0})
    assert code is Code.NO_REPLICA
    assert code.outlook is not Outlook.NOTHING_TO_DO
    assert reason == "there is no replica of the disk of web2 at west; write rpo: in its file"
    assert "disk of web1, web2 at west" in refused(lost_world(), replicas={})[1]


def test_without_data_disks_may_be_empty_but_replicas_that_are_there_are_used() -> None:
    plan = planned(lost_world(), replicas={(WEB1, H2): 7.0}, without_data=True)
    assert (plan.data, plan.placement[WEB1]) == ({WEB1: 7.0}, H2)
    assert WEB2 in plan.placement


def test_members_without_a_disk_need_no_replica() -> None:
    plan = planned(lost_world(disks=frozenset()), replicas={})
    assert (set(plan.placement), plan.data) == (set(MEMBERS), {})


def test_a_replica_of_a_member_that_has_no_disk_any_more_binds_nobody() -> None:
    plan = planned(lost_world(disks=frozenset({WEB2})))
    assert plan.data == {WEB2: 150.0}


def test_without_room_at_the_replica_it_is_refused_though_there_is_room_beside_it() -> None:
    full = {H1: HostLoad(memory=2048 * MIB, cpu=0.0), H2: EMPTY}
    code, reason = refused(lost_world(), loads=full)
    assert code is Code.NO_ROOM
    assert reason == "web2 needs 134 MB and 0.25 cores; west/h1 has 0 B and 2 cores left"


def test_without_room_for_the_others_it_is_refused() -> None:
    small = ((256 * MIB, 2.0), (256 * MIB, 2.0))
    assert refused(lost_world(hosts=small))[0] is Code.NO_ROOM


def test_a_host_of_which_the_load_is_not_known_is_not_used() -> None:
    assert refused(lost_world(), loads={H2: EMPTY})[0] is Code.NO_ROOM
    plan = planned(lost_world(), loads={H1: EMPTY}, replicas={(WEB1, H1): 1.0, (WEB2, H1): 1.0})
    assert set(plan.placement.values()) == {H1}


def test_two_members_at_the_same_replica_host_need_room_for_both() -> None:
    both = {(WEB1, H1): 1.0, (WEB2, H1): 1.0}
    room_for_one = {H1: HostLoad(memory=(2048 - 200) * MIB, cpu=0.0), H2: EMPTY}
    assert refused(lost_world(), replicas=both, loads=room_for_one)[0] is Code.NO_ROOM
    assert planned(lost_world(), replicas={(WEB1, H1): 1.0, (WEB2, H2): 1.0}, loads=room_for_one)


def test_what_runs_at_the_target_stays_and_is_not_started_again() -> None:
    plan = planned(lost_world(running={WEB1: "west/h1", RT: "west/h2"}))
    assert set(plan.placement) == {FW, LB, WEB2}
    assert plan.data == {WEB2: 150.0}


def test_what_is_still_said_to_run_at_the_lost_site_is_started() -> None:
    assert set(planned(lost_world(running={WEB1: "east/h1"})).placement) == set(MEMBERS)


def test_part_of_the_service_at_a_third_site_is_not_left_behind() -> None:
    code, reason = refused(lost_world(running={WEB1: "north/h1", LB: "west/h1"}))
    assert code is Code.ELSEWHERE
    assert reason == "web1 runs on north/h1: part of the service is at a third site, and stays there"


def test_all_at_the_target_already_is_nothing_to_do() -> None:
    code, reason = refused(lost_world(running=dict.fromkeys(MEMBERS, "west/h1")))
    assert (code, code.outlook) == (Code.ALREADY_THERE, Outlook.NOTHING_TO_DO)
    assert reason == "all members run at west"


@pytest.mark.parametrize("target", [EAST, SiteId("mars")])
def test_the_lost_site_itself_or_one_that_is_none_is_no_target(target: SiteId) -> None:
    assert refused(lost_world(), target=target)[0] is Code.UNKNOWN_SITE


def test_a_plan_is_the_same_after_it_was_kept() -> None:
    plan = planned(lost_world())
    assert plan_from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_how_long_it_takes_is_predicted() -> None:
    assert planned(lost_world()).predicted_s > 0


@st.composite
def situations(draw: st.DrawFn) -> tuple[Snapshot, dict[tuple[MemberId, HostId], float], dict[HostId, HostLoad], bool]:
    """East is lost; some members run at west, some seem to at east; hosts of any size and load, replicas anywhere."""
    running = {
        member: at
        for member in MEMBERS
        if (at := draw(st.sampled_from([None, "west/h1", "west/h2", "east/h1"]))) is not None
    }
    sizes = {m: (draw(st.sampled_from([64, 128, 512])) * MIB, draw(st.sampled_from([0.25, 1.0]))) for m in MEMBERS}
    hosts = tuple((draw(st.sampled_from([256, 512, 2048])) * MIB, draw(st.sampled_from([1.0, 4.0]))) for _ in range(2))
    world = lost_world(running=running, sizes=sizes, hosts=hosts, disks=draw(st.frozensets(st.sampled_from(MEMBERS))))
    replicas = draw(
        st.dictionaries(
            st.tuples(st.sampled_from(MEMBERS), st.sampled_from([H1, H2, HostId("east/h1"), HostId("north/h1")])),
            st.floats(min_value=0, max_value=1e9),
        )
    )
    loads = {}
    for site in world.infrastructure.sites:
        for host in site.hosts:
            if draw(st.booleans()):
                loads[host.id] = HostLoad(memory=draw(st.sampled_from([0, host.memory // 2, host.memory])), cpu=0.0)
    return world, replicas, loads, draw(st.booleans())


@given(situations())
def test_a_plan_starts_all_that_is_lost_only_at_the_target_and_in_its_memory(
    situation: tuple[Snapshot, dict[tuple[MemberId, HostId], float], dict[HostId, HostLoad], bool],
) -> None:
    world, replicas, loads, without_data = situation
    plan = outcome(world, replicas=replicas, loads=loads, without_data=without_data)
    if isinstance(plan, Refusal):
        assert all(verdict.reasons for verdict in plan.verdicts)
        return
    assert {site_of(host) for host in plan.placement.values()} == {WEST}
    there = {member for member, host in world.placement.items() if site_of(host) == WEST}
    assert set(plan.placement) == set(MEMBERS) - there
    for host in world.infrastructure.site(WEST).hosts:
        here = [world.service.member(member) for member, at in plan.placement.items() if at == host.id]
        if here:
            assert loads[host.id].memory + sum(member.memory for member in here) <= host.memory
            assert loads[host.id].cpu + sum(member.cpu for member in here) <= host.cpu + 1e-9
    for member in (world.service.member(each) for each in plan.placement):
        if member.disk and not without_data:
            assert member.id in plan.data
        if member.id in plan.data:
            assert plan.data[member.id] == replicas[(member.id, plan.placement[member.id])]
            assert plan.data[member.id] == max(
                at for (of, host), at in replicas.items() if of == member.id and site_of(host) == WEST
            )
