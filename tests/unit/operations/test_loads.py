"""Hosts are shared: what other services' members use of them counts."""

from dataclasses import replace

from entourage.model.ids import HostId, MemberId, SiteId
from entourage.model.realtime import Reservation
from entourage.model.world import Infrastructure, Member, Snapshot
from entourage.operations.examples import example
from entourage.operations.neighbours import disturbed
from entourage.operations.observe import Observation, loads_of
from entourage.planner import MoveRequest, Refusal, plan
from entourage.ports.hypervisor import Capability, RunState
from entourage.spec import load_infrastructure, load_service

SITES = load_infrastructure(example("sites-realtime.yaml"))
SHOP = load_service(example("shop-realtime.yaml"), infrastructure=SITES)
EAST, WEST = HostId("east/h1"), HostId("west/h1")


def other(number: int, member: MemberId = SHOP.members[0].id) -> Member:
    """A member of another service, as one of this."""
    return replace(SHOP.member(member), id=MemberId(f"other{number}"))


def seen(*others: Member, at: HostId = WEST, sites: Infrastructure = SITES) -> Observation:
    """The shop at east, and these members of other services."""
    placement = {member.id: EAST for member in SHOP.members}
    return Observation(
        snapshot=Snapshot(taken_at=0.0, infrastructure=sites, service=SHOP, placement=placement, ingress={}),
        copies=dict.fromkeys(placement.items(), RunState.RUNNING),
        edges={},
        stretched={},
        others={(member.id, at): member for member in others},
    )


def planned(now: Observation) -> object:
    can = dict.fromkeys((member.id for member in SHOP.members), frozenset(Capability))
    return plan(now.snapshot, MoveRequest(service=SHOP.id, target=SiteId("west")), loads=now.load(), capabilities=can)


def test_memory_cpu_and_promises_of_all_services_are_a_hosts_load() -> None:
    load = seen(other(1), other(2)).load()[WEST]
    assert (load.memory, load.cpu, set(load.promised)) == (2 * 128 * 2**20, 0.5, {"other1", "other2"})
    assert seen(other(1)).load()[EAST] == loads_of(SITES, [(member, EAST) for member in SHOP.members])[EAST]


def test_a_move_is_refused_where_others_have_taken_the_memory() -> None:
    assert not isinstance(planned(seen()), Refusal)
    refusal = planned(seen(replace(other(1), memory=4 * 2**30 - 2**20, realtime=None)))
    assert isinstance(refusal, Refusal)
    assert "west/h1 has" in " ".join(reason for verdict in refusal.verdicts for reason in verdict.reasons)


def test_a_move_is_refused_where_others_have_been_promised_the_real_time_cpu() -> None:
    refusal = planned(seen(*(replace(other(number), cpu=0.01) for number in range(4))))
    assert isinstance(refusal, Refusal)
    assert "of a CPU for real time" in " ".join(reason for verdict in refusal.verdicts for reason in verdict.reasons)


def test_who_would_make_anothers_packets_late_is_kept_away_and_who_finds_them_late_is_not() -> None:
    copies = [(member, EAST) for member in SHOP.members]
    assert SHOP.members[0].realtime is not None
    hungry = replace(
        other(1), realtime=replace(SHOP.members[0].realtime, cpu=Reservation(budget_us=1500, period_us=5000))
    )
    assert disturbed(SITES, [SHOP], copies=copies, coming=[(replace(hungry, realtime=None), EAST)]) is None
    assert disturbed(SITES, [SHOP], copies=copies, coming=[(hungry, WEST)]) is None
    against = disturbed(SITES, [SHOP], copies=copies, coming=[(hungry, EAST)])
    assert against is not None
    assert against.reasons[0].startswith("shop, which is there already: ")
    late_already = replace(SHOP, latency_p999_s=0.001)
    assert disturbed(SITES, [late_already], copies=copies, coming=[(hungry, EAST)]) is None
