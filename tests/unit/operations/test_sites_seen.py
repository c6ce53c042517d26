"""What rules are told of sites, from what real agents tell: driven here without a network, by a clock of the test's."""

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest

from entourage.drivers.quorum.telling import status
from entourage.model.ids import ServiceId, SiteId
from entourage.operations.quorum import QuorumSeen, SitesSeen, sites_seen
from entourage.quorum import WITNESS, AgentId, State, Terms, begin
from entourage.quorum.machine import advance
from entourage.quorum.types import Ledger, Received, Remove, Removed, Send, TakeOver, Tick, agent_of
from entourage.rules.view import SiteState

EAST, WEST = SiteId("east"), SiteId("west")
E, W = agent_of(EAST), agent_of(WEST)
LONG = 60.0  # seconds, in which everything that is to happen has happened


class Agents:
    """The agents of sites and the witness. What is cut or dead does not hear."""

    def __init__(self, *sites: SiteId) -> None:
        self.sites = sites or (EAST, WEST)
        self.now = 1000.0
        self.cut: set[frozenset[AgentId]] = set()
        self.dead: set[AgentId] = set()
        self.removes: list[AgentId] = []
        agents = [*map(agent_of, self.sites), WITNESS]
        self.states: dict[AgentId, State] = {}
        for agent in agents:
            state, _ = begin(agent, self.sites, terms=Terms(), ledger=Ledger(), now=self.now)
            self.states[agent] = state

    def sever(self, one: AgentId, other: AgentId) -> None:
        self.cut.add(frozenset({one, other}))

    def isolate(self, agent: AgentId) -> None:
        self.cut |= {frozenset({agent, other}) for other in self.states if other != agent}

    def pass_time(self, seconds: float = LONG) -> "Agents":
        until = self.now + seconds
        while self.now < until:
            self.now += 0.1
            for agent in self.states:
                if agent not in self.dead:
                    self.tell(agent, Tick(self.now))
        return self

    def tell(self, agent: AgentId, event: Any) -> None:
        self.states[agent], effects = advance(self.states[agent], event)
        for effect in effects:
            if isinstance(effect, Remove):
                self.removes.append(agent)
            if (
                isinstance(effect, Send)
                and frozenset({agent, effect.to}) not in self.cut
                and effect.to not in self.dead
            ):
                self.tell(effect.to, Received(self.now, agent, effect.message))

    def seen(self, *, silent: Collection[AgentId] = ()) -> SitesSeen:
        """What is made of what they tell; `silent` and dead ones do not answer."""
        told = {
            agent: None if agent in {*silent, *self.dead} else status(state, self.now)
            for agent, state in self.states.items()
        }
        lab: Any = SimpleNamespace(
            infrastructure=SimpleNamespace(sites=[SimpleNamespace(id=site) for site in self.sites])
        )
        return sites_seen(lab, QuorumSeen(lab="lab1", told=told))


def test_all_are_up_and_nobody_may_act_for_anybody() -> None:
    seen = Agents().pass_time().seen()
    assert seen.states == {EAST: SiteState.UP, WEST: SiteState.UP}
    assert seen.may_act == {EAST: frozenset(), WEST: frozenset()}
    assert (seen.lost, seen.won) == (frozenset(), ())


def test_why_nobody_may_act_is_said_by_the_other_site() -> None:
    (reason,) = Agents().pass_time().seen().why_not[EAST]
    assert reason.startswith("west may not act for east")


def test_a_dead_site_is_lost_and_the_other_may_act() -> None:
    agents = Agents().pass_time()
    agents.dead.add(E)
    seen = agents.pass_time().seen()
    assert seen.states == {EAST: SiteState.LOST, WEST: SiteState.UP}
    assert seen.lost == {EAST}
    assert seen.may_act[EAST] == {WEST}
    assert seen.may_act[WEST] == frozenset()


def test_a_site_that_has_just_died_is_not_lost_at_once_and_why_nobody_may_act_yet_is_said() -> None:
    agents = Agents().pass_time()
    agents.dead.add(E)
    seen = agents.pass_time(1.0).seen()
    assert seen.states[EAST] is not SiteState.LOST
    assert seen.may_act[EAST] == frozenset()
    (reason,) = seen.why_not[EAST]
    assert reason.startswith("west may not act for east")


def test_a_cut_link_between_the_sites_loses_none_of_them() -> None:
    agents = Agents().pass_time()
    agents.sever(E, W)
    seen = agents.pass_time().seen()
    assert seen.states == {EAST: SiteState.UP, WEST: SiteState.UP}
    assert seen.may_act == {EAST: frozenset(), WEST: frozenset()}


def test_a_dead_witness_loses_no_site() -> None:
    agents = Agents().pass_time()
    agents.dead.add(WITNESS)
    seen = agents.pass_time().seen()
    assert seen.states == {EAST: SiteState.UP, WEST: SiteState.UP}


def test_the_word_of_a_site_that_is_cut_off_does_not_count() -> None:
    agents = Agents().pass_time()
    agents.isolate(E)
    agents.pass_time()
    assert status(agents.states[E], agents.now)["right"] is False
    assert agents.seen().states == {EAST: SiteState.LOST, WEST: SiteState.UP}
    assert agents.seen().may_act == {EAST: {WEST}, WEST: frozenset()}


def test_the_word_of_a_site_that_is_cut_off_does_not_count_if_it_is_the_only_one() -> None:
    agents = Agents().pass_time()
    agents.isolate(E)
    seen = agents.pass_time().seen(silent=(W, WITNESS))
    assert seen.states == {}
    assert seen.lost == frozenset()


def test_all_cut_off_from_each_other_none_is_taken_for_lost() -> None:
    agents = Agents().pass_time()
    for agent in (E, W):
        agents.isolate(agent)
    seen = agents.pass_time().seen()
    assert seen.may_act == {EAST: frozenset(), WEST: frozenset()}
    assert seen.lost == frozenset()


def test_if_nobody_answers_nothing_is_said_of_any_site() -> None:
    seen = Agents().pass_time().seen(silent=(E, W, WITNESS))
    assert (seen.states, seen.lost, seen.won) == ({}, frozenset(), ())
    assert seen.may_act == {EAST: frozenset(), WEST: frozenset()}


def test_a_lab_without_agents_says_nothing() -> None:
    lab: Any = SimpleNamespace(infrastructure=SimpleNamespace(sites=[SimpleNamespace(id=EAST)]))
    assert sites_seen(lab, QuorumSeen(lab="lab1", told={})).states == {}


@pytest.mark.parametrize("silent", [(), (WITNESS,), (E,)])
def test_a_site_that_others_hear_is_up_though_its_own_agent_does_not_answer_us(silent: tuple[AgentId, ...]) -> None:
    seen = Agents().pass_time().seen(silent=silent)
    assert seen.states == {EAST: SiteState.UP, WEST: SiteState.UP}


def taken_over() -> Agents:
    agents = Agents().pass_time()
    agents.dead.add(E)
    agents.pass_time()
    agents.tell(W, TakeOver(agents.now, EAST, (ServiceId("shop"),)))
    return agents.pass_time(5.0)


def test_who_has_taken_a_site_over_may_act_for_it_and_what_it_won_is_told() -> None:
    seen = taken_over().seen()
    assert seen.may_act[EAST] == {WEST}
    assert seen.lost == {EAST}
    ((winner, lost, epoch),) = seen.won
    assert (winner, lost) == (WEST, EAST)
    assert epoch >= 1


def test_a_site_that_comes_back_is_up_when_it_has_removed_its_old_copies() -> None:
    agents = taken_over()
    agents.dead.clear()
    agents.pass_time(5.0)
    assert E in agents.removes
    assert agents.seen().states[EAST] is not SiteState.UP
    removing = agents.states[E].removing
    assert removing is not None
    agents.tell(E, Removed(agents.now, removing.epoch))
    seen = agents.pass_time().seen()
    assert seen.states == {EAST: SiteState.UP, WEST: SiteState.UP}
    assert seen.may_act == {EAST: frozenset(), WEST: frozenset()}


def test_of_three_sites_both_others_may_act_for_the_lost_one_until_one_has_taken_it() -> None:
    north = SiteId("north")
    agents = Agents(EAST, WEST, north).pass_time()
    agents.dead.add(E)
    seen = agents.pass_time().seen()
    assert seen.states == {EAST: SiteState.LOST, WEST: SiteState.UP, north: SiteState.UP}
    assert seen.may_act[EAST] == {WEST, north}
    agents.tell(W, TakeOver(agents.now, EAST, (ServiceId("shop"),)))
    seen = agents.pass_time(5.0).seen()
    assert seen.may_act[EAST] == {WEST}
