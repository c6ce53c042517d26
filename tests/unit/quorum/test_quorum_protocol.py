"""The lease protocol under everything that can befall it: nothing runs twice, and all is whole once all has healed."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from quorum_faults import fault_lists, on_the_brink, random_faults
from quorum_mutants import MUTANTS, Mutant, caught_at
from quorum_world import Cut, End, Fault, Noise, Stall, World

from entourage.quorum import WITNESS, AgentId, Terms

EAST, WEST = AgentId("east"), AgentId("west")
_SEEDS = 100  # within which each mutant is found


def cut_off(agent: AgentId, *, at: float, lasts: float) -> list[Fault]:
    """Nobody hears that agent, and it hears nobody."""
    others = [other for other in (EAST, WEST, WITNESS) if other != agent]
    return [Cut(at, lasts, *pair) for other in others for pair in ((agent, other), (other, agent))]


@settings(max_examples=50)
@given(faults=fault_lists(2), seed=st.integers(0, 2**16))
@example(faults=cut_off(EAST, at=5, lasts=10), seed=0)
def test_two_sites_and_a_witness_never_run_a_service_twice_and_heal(faults: list[Fault], seed: int) -> None:
    assert World(2, faults, seed=seed).run().violations == []


@settings(max_examples=10)
@given(faults=fault_lists(3), seed=st.integers(0, 2**16))
def test_three_sites_and_a_witness_never_run_a_service_twice_and_heal(faults: list[Fault], seed: int) -> None:
    assert World(3, faults, seed=seed).run().violations == []


@pytest.mark.parametrize("seed", range(12))
def test_a_site_that_comes_back_just_when_it_is_given_away_ends_with_one_runner(seed: int) -> None:
    assert World(2, on_the_brink(seed, 2), seed=seed).run().violations == []


@pytest.mark.parametrize("seed", [135, 169])
def test_schedules_that_once_broke_the_protocol_hold(seed: int) -> None:
    # 135: a takeover was claimed a second time, over the first. 169: a grant was denied after the lost site knew of it.
    assert World(2, random_faults(seed, 2), seed=seed).run().violations == []


@settings(max_examples=15)
@given(
    lasts=st.floats(0.1, 60),
    stalls=st.lists(st.builds(Stall, st.floats(0, 60), st.floats(0.1, 2.0), st.sampled_from((EAST, WEST)))),
    seed=st.integers(0, 2**16),
)
def test_a_cut_link_alone_moves_nothing(lasts: float, stalls: list[Stall], seed: int) -> None:
    link = [Cut(2, lasts, EAST, WEST), Cut(2, lasts, WEST, EAST)]
    world = World(2, [*link, Noise(2, lasts, 0.05, 1.0), *stalls], seed=seed).run()
    assert world.violations == []
    assert world.takeovers == set()


@pytest.mark.parametrize("seed", range(5))
def test_a_dead_site_is_taken_over_within_five_seconds_and_removes_what_it_had_when_it_is_back(seed: int) -> None:
    world = World(2, [End(10, 20, EAST, 0, True)], seed=seed).run()
    assert world.violations == []
    (at, site, takeover), *later = world.started
    assert (site, takeover.lost) == ("west", "east")
    assert 10 + 3 < at < 10 + 5  # the world's own time
    assert [each.extends for _, _, each in later] == [takeover] * len(later)
    assert [removed for _, removed in world.removed] == ["east"]


@pytest.mark.parametrize("seed", range(5))
def test_an_isolated_site_stands_still_before_the_other_may_act(seed: int) -> None:
    world = World(2, cut_off(EAST, at=10, lasts=30), seed=seed).run(until=14.5)
    at, site, _ = world.started[0]
    node = world.nodes[EAST]
    assert site == "west"
    assert node.permitted + world.terms.to_fence < node.clock(at)


@pytest.mark.parametrize("seed", range(5))
def test_a_site_that_is_back_in_time_goes_on_with_what_it_had(seed: int) -> None:
    world = World(2, cut_off(EAST, at=10, lasts=3.2), seed=seed).run()
    assert world.violations == []
    assert world.takeovers == set()
    assert world.removed == []


@pytest.mark.parametrize("seed", range(3))
def test_both_sites_go_on_without_the_witness(seed: int) -> None:
    world = World(2, [End(5, 20, WITNESS, 0, True)], seed=seed).run(until=24)
    assert world.takeovers == set()
    assert len(world.running(world.sites[0])) == len(world.running(world.sites[1])) == 2


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_planted_faults_of_the_protocol_are_found(mutant: Mutant) -> None:
    assert caught_at(mutant, seeds=_SEEDS) is not None


def test_terms_that_cannot_keep_two_sites_apart_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a margin of 0.05 s does not outweigh clocks that differ by 1.0%"):
        Terms(margin=0.05)
    with pytest.raises(ValueError, match="without sense"):
        Terms(beat=4.0)
    assert 0.6 < Terms().to_fence < 0.75
