"""Plans of moves within a site: who is on a host goes to other ones of its site, and nothing else changes."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import planner_world as world
import pytest

from entourage.licences import copies_of
from entourage.model.ids import HostId, MemberId, ProductId
from entourage.model.licences import Binding, Holdings, Licences, Pool, Product
from entourage.model.realtime import Promise, RealtimeCpus, Reservation
from entourage.model.world import Snapshot
from entourage.planner import (
    CaveatCode,
    Code,
    HostLoad,
    MoveRequest,
    Plan,
    Refusal,
    StepKind,
    Strategy,
    back_again,
    off_host,
)
from entourage.ports.hypervisor import Capability

K = StepKind
E1, E2 = HostId("east/h1"), HostId("east/h2")
ON_H1 = frozenset({world.RT, world.FW, world.LB, world.WEB1})
FULL = HostLoad(memory=2048 * world.MIB, cpu=2.0)
EVERYWHERE = (E1, E2, world.H1, world.H2)


def lies(**at: str) -> Snapshot:
    """The shop at east: web2 on h2, all others on h1, but those that are named."""
    snapshot = world.snapshot()
    elsewhere = {MemberId(member): HostId(host) for member, host in {"web2": "east/h2", **at}.items()}
    return replace(snapshot, placement={**snapshot.placement, **elsewhere})


def off(snapshot: Snapshot, host: HostId = E1, *members: MemberId) -> MoveRequest:
    return off_host(snapshot.infrastructure, world.SHOP, host, frozenset(members) or None)


def planned(snapshot: Snapshot, request: MoveRequest | None = None) -> Plan:
    return world.planned(snapshot, request or off(snapshot))


def refused(
    snapshot: Snapshot, request: MoveRequest | None = None, *, loads: Mapping[HostId, HostLoad] | None = None
) -> Refusal:
    found = world.outcome(snapshot, request or off(snapshot), loads=loads)
    assert isinstance(found, Refusal)
    return found


def test_who_is_on_the_host_goes_to_the_other_one_in_one_switch_and_the_route_stays() -> None:
    plan = planned(lies())
    assert plan.placement == dict.fromkeys(ON_H1, E2)
    assert (plan.sources, plan.target, plan.strategy) == ((world.EAST,), world.EAST, Strategy.GROUP)
    assert (plan.moves_ingress, plan.stretch) == (False, ())
    assert [step.kind for step in plan.steps] == [
        *[K.PREPARE] * 4, *[K.COPY] * 4, K.HOLD, K.REFRESH, K.STOP, K.DRAIN, K.COMMIT, K.RESUME, K.VERIFY, K.CLEANUP,
    ]  # fmt: skip
    assert [(change.after.rtt_ms, change.after.inter_site_crossings) for change in plan.paths] == [(5.0, 0), (55.0, 0)]
    assert plan.cannot_promise == ()


def test_only_those_that_were_asked_for_leave_and_nobody_comes_from_another_site() -> None:
    assert planned(lies(), off(lies(), E1, world.RT, world.WEB2)).placement == {world.RT: E2}
    assert set(planned(lies(lb="west/h1")).placement) == ON_H1 - {world.LB}


def test_a_split_service_stays_stretched_as_it_is() -> None:
    split = lies(web2="west/h1")
    both = {world.snapshot().service.segments[3].id: frozenset({world.EAST, world.WEST})}
    plan = world.outcome(split, off(split), stretched=both)
    assert isinstance(plan, Plan)
    assert not {K.STRETCH, K.UNSTRETCH} & {step.kind for step in plan.steps}
    assert [caveat.code for caveat in plan.cannot_promise] == [CaveatCode.SPLIT_AFTERWARDS]


def test_of_several_hosts_a_server_takes_one_without_another_server() -> None:
    snapshot = world.snapshot(hosts=((2048 * world.MIB, 2.0),) * 3)
    snapshot = replace(snapshot, placement={**snapshot.placement, world.WEB2: E2})
    plan = planned(snapshot)
    assert (plan.placement[world.WEB1], plan.placement[world.RT]) == (HostId("east/h3"), E2)


def test_it_is_copied_over_the_sites_own_network_with_or_without_links() -> None:
    within, between = planned(lies()), planned(lies(), world.request(members=ON_H1))
    assert within.forecast.blackout_ms < between.forecast.blackout_ms - 49  # a round trip of the link
    assert within.forecast.copy_s < between.forecast.copy_s / 4
    seen = lies()
    slow = replace(seen.infrastructure, sites=tuple(replace(s, rate=1e8) for s in seen.infrastructure.sites))
    assert planned(replace(seen, infrastructure=slow)).forecast.copy_s > 5 * within.forecast.copy_s
    alone = world.snapshot(link=None)
    assert set(planned(alone).placement) == set(world.MEMBERS)


def test_in_the_clear_it_is_the_sites_network_that_is_named() -> None:
    (caveat,) = world.planned(lies(), off(lies()), can=world.EVERYTHING - {Capability.ENCRYPTED}).cannot_promise
    assert caveat.code is CaveatCode.NOT_ENCRYPTED
    assert "crosses the network of east unencrypted" in caveat.text


@pytest.mark.parametrize("strategy", [Strategy.SERIAL, Strategy.PARALLEL])
def test_one_by_one_nothing_is_stretched_and_nobody_is_at_two_sites(strategy: Strategy) -> None:
    plan = planned(lies(), replace(off(lies()), strategy=strategy))
    assert plan.stretch == ()
    assert not {K.STRETCH, K.TUNNEL, K.FLIP} & {step.kind for step in plan.steps}
    assert {caveat.code for caveat in plan.cannot_promise} == {CaveatCode.NO_WAY_BACK, CaveatCode.NOT_ALIGNED}


def test_without_room_it_is_refused_with_what_is_left() -> None:
    loads = dict.fromkeys(EVERYWHERE, world.EMPTY) | {E2: FULL}
    verdict = refused(lies(), loads=loads).verdict
    assert (verdict.code, verdict.reasons) == (
        Code.NO_ROOM,
        ("fw needs 134 MB and 0.25 cores", "east/h2 has 0 B and 0 cores left"),
    )


def test_a_host_that_may_not_be_used_or_is_the_only_one_leaves_nowhere_to_go() -> None:
    nowhere = "there is no host at the target that may be used"
    in_maintenance = {host: world.EMPTY for host in EVERYWHERE if host != E2}
    assert refused(lies(), loads=in_maintenance).verdict.reasons[1:] == (nowhere,)
    assert refused(world.snapshot(hosts=((2048 * world.MIB, 2.0),))).verdict.reasons[1:] == (nowhere,)


def test_who_is_not_on_the_host_need_not_leave_it() -> None:
    verdict = refused(lies(), off(lies(), E2, world.RT)).verdict
    assert (verdict.code, verdict.reasons) == (Code.ALREADY_THERE, ("none of rt is on east/h2",))


def test_what_dirties_faster_than_the_sites_network_carries_is_refused_in_its_words() -> None:
    snapshot = world.snapshot(dirty={world.WEB1: 200e6})
    (verdict,) = refused(snapshot).verdicts
    assert verdict.code is Code.LINK_TOO_SLOW
    assert "and the network of east carries 900 Mbit/s of its 1 Gbit/s" in verdict.reasons[0]


def test_real_time_cpu_is_promised_by_the_new_host_or_it_is_refused() -> None:
    half = Promise(cpu=Reservation(budget_us=300, period_us=1000), io=Reservation(budget_us=200, period_us=1000))
    snapshot = lies()
    members = tuple(replace(m, realtime=half) if m.id == world.RT else m for m in snapshot.service.members)
    sites = tuple(
        replace(site, hosts=(replace(site.hosts[0], realtime=RealtimeCpus(cpus=(0,))), *site.hosts[1:]))
        for site in snapshot.infrastructure.sites
    )
    snapshot = replace(
        snapshot,
        service=replace(snapshot.service, members=members),
        infrastructure=replace(snapshot.infrastructure, sites=sites),
    )
    assert "east/h2 has 2.1 GB and 2 cores left, and no real-time CPU to promise" in refused(snapshot).verdict.reasons


def licensed(seats: int, *, second: bool) -> Snapshot:
    snapshot = lies()
    vfw = ProductId("vfw")
    members = tuple(replace(m, licence=vfw) if m.id == world.FW else m for m in snapshot.service.members)
    service = replace(snapshot.service, members=members)
    bought = Licences(
        currency="EUR",
        products=(Product(id=vfw, vendor="acme", bound_to=Binding.UUID, grace_s=None, needs_second=second),),
        pools=(Pool(product=vfw, site=world.EAST, seats=seats, price=Decimal(10)),),
    )
    holdings = Holdings(copies=copies_of(bought, service, dict.fromkeys(snapshot.placement.items(), True)))
    infrastructure = replace(snapshot.infrastructure, licences=bought)
    return replace(snapshot, infrastructure=infrastructure, service=service, holdings=holdings)


def test_both_copies_of_a_member_need_seats_at_the_one_site() -> None:
    assert refused(licensed(1, second=True)).verdict.code is Code.LICENCE
    assert set(planned(licensed(2, second=True)).placement) == ON_H1
    assert set(planned(licensed(1, second=False)).placement) == ON_H1


def test_back_again_is_to_the_same_host_within_a_site_and_to_the_site_else() -> None:
    moved = lies(rt="east/h2", fw="east/h2")
    service = moved.service
    request = back_again(service, sources={world.RT: E1, world.FW: E1}, targets={world.RT: E2, world.FW: E2})
    assert planned(moved, request).placement == {world.RT: E1, world.FW: E1}
    all_h1, all_west = dict.fromkeys(world.MEMBERS, E1), dict.fromkeys(world.MEMBERS, world.H1)
    assert back_again(service, sources=all_h1, targets=all_west) == MoveRequest(service=world.SHOP, target=world.EAST)
