"""The first host with room is the one that a look at every host would find, and no promise is one too many."""

from dataclasses import replace

import planner_world as world
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entourage.model.ids import HostId, MemberId
from entourage.model.realtime import Promise, RealtimeCpus, Reservation
from entourage.model.world import Host, Member
from entourage.planner import HostLoad
from entourage.planner.placing import NoRoomError, place
from entourage.planner.rooms import Rooms
from entourage.realtime import Kept, keep

KINDS = [Promise(cpu=Reservation(budget_us=b, period_us=p), io=Reservation(budget_us=p // 10, period_us=p))
         for b, p in ((100, 1000), (400, 1000), (700, 2000), (900, 5000))]  # fmt: skip
MEMBERS = st.lists(
    st.tuples(st.integers(1, 4), st.floats(0.1, 2.0), st.sampled_from([None, *KINDS])), max_size=25
).map(lambda made: [_member(number, *each) for number, each in enumerate(made)])  # fmt: skip
HOSTS = st.lists(
    st.tuples(st.integers(1, 12), st.floats(0.5, 6.0), st.sampled_from([None, (0,), (0, 1)])), max_size=9
).map(lambda made: [_host(number, *each) for number, each in enumerate(made)])  # fmt: skip


def _member(number: int, memory: int, cpu: float, promise: Promise | None) -> Member:
    template = world.snapshot().service.member(world.RT)
    return replace(template, id=MemberId(f"m{number}"), memory=memory, cpu=cpu, realtime=promise)


def _host(number: int, memory: int, cpu: float, cpus: tuple[int, ...] | None) -> Host:
    realtime = None if cpus is None else RealtimeCpus(cpus=cpus)
    return Host(id=HostId(f"west/h{number}"), memory=memory, cpu=cpu, realtime=realtime)


@given(MEMBERS, HOSTS)
def test_it_is_the_first_of_all_that_have_room(members: list[Member], hosts: list[Host]) -> None:
    rooms = Rooms([(host, world.EMPTY) for host in hosts])
    alone = [Rooms([(host, world.EMPTY)]) for host in hosts]
    for member in members:
        expected = next((host.id for host, room in zip(hosts, alone, strict=True) if room.take(member)), None)
        assert rooms.take(member) == expected


@given(MEMBERS, HOSTS)
def test_every_host_can_keep_what_it_was_given(members: list[Member], hosts: list[Host]) -> None:
    try:
        placement = place(members, hosts, loads={host.id: world.EMPTY for host in hosts})
    except NoRoomError:
        return
    for host in hosts:
        there = {m.id: m.realtime for m in members if m.realtime and placement[m.id] == host.id}
        assert host.realtime is not None or not there
        assert host.realtime is None or isinstance(keep(host.realtime, there), Kept)


def test_a_host_that_has_promised_too_much_promises_no_more() -> None:
    host = _host(1, 4 << 30, 8.0, (0,))
    much = HostLoad(memory=0, cpu=0.0, promised={MemberId(f"other{n}"): KINDS[1] for n in range(2)})
    with pytest.raises(NoRoomError, match="cannot keep what it has promised already"):
        place([_member(1, 1, 0.1, KINDS[0])], [host], loads={host.id: much})
    assert place([_member(1, 1, 0.1, None)], [host], loads={host.id: much}) == {MemberId("m1"): host.id}
