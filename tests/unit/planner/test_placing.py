"""Where members are placed: never over a host's capacity, servers apart if they can be."""

from dataclasses import replace

import planner_world as world
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entourage.model.ids import HostId, MemberId
from entourage.model.realtime import Promise, RealtimeCpus, Reservation
from entourage.model.world import Host
from entourage.planner import HostLoad
from entourage.planner.placing import NoRoomError, place

SIZES = st.dictionaries(
    st.sampled_from(world.MEMBERS),
    st.tuples(st.integers(64, 1024).map(lambda mib: mib * world.MIB), st.floats(0.1, 2.0)),
)
HOSTS = st.lists(st.tuples(st.integers(128, 4096).map(lambda mib: mib * world.MIB), st.floats(0.5, 8.0)), max_size=4)
USED = st.floats(0, 1.2)  # of the host, and more: someone may have overcommitted it before


def _hosts(*sizes: tuple[int, float]) -> list[Host]:
    return [Host(id=HostId(f"west/h{n}"), memory=m, cpu=c) for n, (m, c) in enumerate(sizes, start=1)]


@given(sizes=SIZES, capacities=HOSTS, used=USED)
def test_no_host_ever_gets_more_than_it_has_left(
    sizes: dict[MemberId, tuple[int, float]], capacities: list[tuple[int, float]], used: float
) -> None:
    members = world.snapshot(sizes=sizes).service.members
    hosts = _hosts(*capacities)
    loads = {host.id: HostLoad(memory=int(host.memory * used), cpu=host.cpu * used) for host in hosts}
    try:
        placement = place(members, hosts, loads=loads)
    except NoRoomError:
        return
    assert set(placement) == {member.id for member in members}
    for host in hosts:
        there = [member for member in members if placement[member.id] == host.id]
        if there:
            assert sum(m.memory for m in there) + loads[host.id].memory <= host.memory
            assert sum(m.cpu for m in there) + loads[host.id].cpu <= host.cpu + 1e-6


def test_the_largest_goes_first_so_that_a_full_pair_of_hosts_is_enough() -> None:
    sizes = {
        world.RT: (300, 0.1), world.FW: (300, 0.1), world.LB: (400, 0.1), world.WEB1: (600, 0.1), world.WEB2: (400, 0.1)
    }  # fmt: skip
    placement = place(
        world.snapshot(sizes=sizes).service.members,
        _hosts((1000, 1.0), (1000, 1.0)),
        loads={world.H1: world.EMPTY, world.H2: world.EMPTY},
    )
    assert placement == {world.WEB1: world.H1, world.LB: world.H1, world.WEB2: world.H2, world.FW: world.H2,
                         world.RT: world.H2}  # fmt: skip


def test_servers_keep_apart_also_from_those_that_are_there_already() -> None:
    hosts, loads = (
        _hosts((2048 * world.MIB, 2.0), (2048 * world.MIB, 2.0)),
        dict.fromkeys((world.H1, world.H2), world.EMPTY),
    )
    service = world.snapshot().service
    both = place(service.members, hosts, loads=loads)
    assert {both[world.WEB1], both[world.WEB2]} == {world.H1, world.H2}
    beside = place([service.member(world.WEB2)], hosts, loads=loads, with_server={world.H1})
    assert beside == {world.WEB2: world.H2}


def test_servers_share_a_host_rather_than_stay_behind() -> None:
    hosts = _hosts((2048 * world.MIB, 2.0), (64 * world.MIB, 2.0))
    placement = place(world.snapshot().service.members, hosts, loads=dict.fromkeys((world.H1, world.H2), world.EMPTY))
    assert set(placement.values()) == {world.H1}


def test_another_member_is_not_left_behind_for_the_sake_of_servers_apart() -> None:
    sizes = {world.WEB1: (400, 0.1), world.WEB2: (400, 0.1), world.LB: (300, 0.1)}
    service = world.snapshot(sizes=sizes).service
    members = [service.member(name) for name in sizes]
    hosts = _hosts((800, 1.0), (500, 1.0))
    both_small = dict.fromkeys((world.H1, world.H2), world.EMPTY)
    assert place(members, hosts, loads=both_small)[world.WEB2] == world.H2  # apart: 400+300 and 400
    tight = {world.H1: world.EMPTY, world.H2: HostLoad(memory=100, cpu=0.0)}
    members[2] = replace(members[2], memory=401)
    with pytest.raises(NoRoomError):
        place(members, hosts, loads=tight)
    members[2] = replace(members[2], memory=399)
    assert set(place(members, hosts, loads=tight)) == set(sizes)


def test_a_host_of_unknown_load_is_not_used() -> None:
    members = world.snapshot().service.members
    hosts = _hosts((2048 * world.MIB, 2.0), (2048 * world.MIB, 2.0))
    assert set(place(members, hosts, loads={world.H2: world.EMPTY}).values()) == {world.H2}
    with pytest.raises(NoRoomError, match="there is no host at the target that may be used"):
        place(members, hosts, loads={})


HALF = Promise(cpu=Reservation(budget_us=300, period_us=1000), io=Reservation(budget_us=200, period_us=1000))
REALTIME = RealtimeCpus(cpus=(0, 1))


def test_a_host_takes_no_more_than_it_can_promise() -> None:
    members = [replace(m, realtime=HALF) for m in world.snapshot().service.members]  # 0.5 each, 1.9 on each host
    plenty = (4096 * world.MIB, 8.0)
    hosts = [replace(host, realtime=REALTIME) for host in _hosts(plenty, plenty)]
    placement = place(members, hosts, loads=dict.fromkeys((world.H1, world.H2), world.EMPTY))
    assert [list(placement.values()).count(host) for host in (world.H1, world.H2)] == [3, 2]
    busy = HostLoad(memory=0, cpu=0.0, promised={MemberId("other"): HALF})
    placement = place(members[:4], hosts, loads={world.H1: busy, world.H2: busy})
    assert [list(placement.values()).count(host) for host in (world.H1, world.H2)] == [2, 2]


def test_what_cannot_be_promised_is_said_with_numbers() -> None:
    plenty = (4096 * world.MIB, 8.0)
    hosts = [*(replace(host, realtime=REALTIME) for host in _hosts(plenty)), *_hosts(plenty, plenty)[1:]]
    router = replace(world.snapshot().service.member(world.RT), realtime=HALF)
    busy = HostLoad(memory=0, cpu=0.0, promised={MemberId(f"other{n}"): HALF for n in range(3)})
    with pytest.raises(NoRoomError) as refused:
        place([router], hosts, loads={world.H1: busy, world.H2: world.EMPTY})
    wanted, first, second = refused.value.reasons
    assert wanted.endswith(", 0.5 of a CPU in real time")
    assert first.endswith(" and 8 cores left, and 0.4 of a CPU for real time")
    assert second.endswith(" and 8 cores left, and no real-time CPU to promise")
