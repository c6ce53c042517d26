"""What a chain may add: the sum of what its members' threads may wait, and whose part is the largest."""

from hypothesis import given
from hypothesis import strategies as st

from entourage.model.ids import MemberId
from entourage.realtime import ChainLatency, chain_latency

RT, FW, LB1, LB2 = map(MemberId, ("rt", "fw", "lb1", "lb2"))
RESPONSES = st.fixed_dictionaries(
    {m: st.tuples(st.integers(1, 9999), st.integers(1, 9999)) for m in (RT, FW, LB1, LB2)}
)


def test_a_packet_passes_every_appliance_twice_and_its_io_thread_four_times() -> None:
    found = chain_latency([(RT,), (FW,)], {RT: (1000, 100), FW: (2000, 300)})
    assert found == ChainLatency(parts_us={RT: 2400, FW: 5200})
    assert (found.total_us, found.largest) == (7600, FW)


def test_of_a_shared_stage_the_slowest_counts() -> None:
    found = chain_latency([(RT,), (LB1, LB2)], {RT: (1, 1), LB1: (10, 10), LB2: (20, 20)})
    assert found.parts_us == {RT: 6, LB2: 120}


def test_nobody_adds_nothing() -> None:
    assert chain_latency([], {}) == ChainLatency(parts_us={})
    assert chain_latency([], {}).largest is None


@given(RESPONSES, st.sampled_from((RT, FW, LB1, LB2)), st.integers(0, 500))
def test_who_waits_longer_never_makes_the_chain_faster(
    responses: dict[MemberId, tuple[int, int]], member: MemberId, more: int
) -> None:
    stages = [(RT,), (FW,), (LB1, LB2)]
    cpu, io = responses[member]
    slower = {**responses, member: (cpu + more, io)}
    assert chain_latency(stages, slower).total_us >= chain_latency(stages, responses).total_us
