"""What an agent does with single messages, and what it tells people of what it knows."""

from dataclasses import replace

import pytest

from entourage.model.ids import ServiceId, SiteId
from entourage.quorum import WITNESS, AgentId, State, Takeover, Terms, advance, begin
from entourage.quorum.judging import Condition, judge
from entourage.quorum.rights import has_right
from entourage.quorum.types import (
    Ack,
    Ask,
    Denial,
    Effect,
    Grant,
    Heartbeat,
    Ledger,
    Message,
    Permit,
    Received,
    Refusal,
    Refused,
    Remove,
    Removed,
    Send,
    Sighting,
    Stamp,
    Store,
    TakeOver,
    Tick,
    View,
    Withdrawal,
    Won,
    agent_of,
)

EAST, WEST = SiteId("east"), SiteId("west")
TERMS = Terms()
TAKEOVER = Takeover(lost=EAST, epoch=1, by=WEST, by_epoch=0, services=(ServiceId("shop"),))
MORE = replace(TAKEOVER, epoch=2, services=(*TAKEOVER.services, ServiceId("bank")), extends=TAKEOVER)
NOTHING = View(sightings={}, taken=())


def started(me: AgentId, *, now: float = 100.0, ledger: Ledger | None = None) -> State:
    state, _ = begin(me, (EAST, WEST), terms=TERMS, ledger=ledger or Ledger(), now=now)
    return state


def sees(*, heard: float, free: float) -> View:
    """A view of east."""
    return View(sightings={EAST: Sighting(heard=heard, free=free)}, taken=())


def fed(state: State, now: float, *messages: tuple[AgentId, Message]) -> State:
    for sender, message in messages:
        state, _ = advance(state, Received(now, sender, message))
    return state


def acked(state: State, sent: float, view: View = NOTHING) -> tuple[AgentId, Ack]:
    return WITNESS, Ack(Stamp(incarnation=state.ledger.starts, sent=sent), 0, view)


def sent(effects: tuple[Effect, ...]) -> list[Message]:
    return [effect.message for effect in effects if isinstance(effect, Send)]


def test_an_acknowledgement_lasts_from_when_the_heartbeat_was_sent() -> None:
    state = started(agent_of(WEST))
    state, effects = advance(state, Received(101.0, *acked(state, 100.0)))
    assert effects == (Permit(100.0 + TERMS.lease),)
    assert has_right(state, 102.9)
    assert not has_right(state, 103.0)


def test_an_acknowledgement_of_an_earlier_incarnation_or_epoch_counts_for_nothing() -> None:
    state = started(agent_of(WEST))
    stale = Ack(Stamp(incarnation=state.ledger.starts - 1, sent=100.0), 0, NOTHING)
    other = Ack(Stamp(incarnation=state.ledger.starts, sent=100.0), 1, NOTHING)
    assert not has_right(fed(state, 100.1, (WITNESS, stale), (WITNESS, other)), 100.2)


def test_a_denial_is_kept_before_it_is_told_and_holds_for_ever() -> None:
    state = fed(started(WITNESS), 104.0, (agent_of(EAST), Heartbeat(Stamp(incarnation=1, sent=0.0), 0, NOTHING)))
    state, effects = advance(state, Received(104.1, agent_of(WEST), Ask(TAKEOVER)))
    assert isinstance(effects[0], Store)
    assert sent(effects) == [Denial(TAKEOVER, 1)]
    _, effects = advance(state, Received(200.0, agent_of(WEST), Ask(TAKEOVER)))
    assert sent(effects) == [Denial(TAKEOVER, 1)]
    again = started(WITNESS, now=200.0, ledger=state.ledger)
    _, effects = advance(again, Received(300.0, agent_of(WEST), Ask(TAKEOVER)))
    assert sent(effects) == [Denial(TAKEOVER, 1)]


def test_a_grant_is_kept_before_it_is_told_and_said_again_even_when_the_lost_site_knows() -> None:
    state, effects = advance(started(WITNESS), Received(104.0, agent_of(WEST), Ask(TAKEOVER)))
    assert isinstance(effects[0], Store)
    assert sent(effects) == [Grant(TAKEOVER)]
    heartbeat = Heartbeat(Stamp(incarnation=1, sent=0.0), 0, NOTHING)
    _, effects = advance(state, Received(105.0, agent_of(EAST), heartbeat))
    assert [type(message) for message in sent(effects)] == [Refusal]
    state = fed(state, 105.0, (agent_of(EAST), replace(heartbeat, epoch=1)))
    _, effects = advance(state, Received(106.0, agent_of(WEST), Ask(TAKEOVER)))
    assert sent(effects) == [Grant(TAKEOVER)]


def test_a_voter_that_has_just_started_grants_nothing_until_it_would_have_heard() -> None:
    for waited, answer in ((TERMS.silence - 0.1, Denial(TAKEOVER, 1)), (TERMS.silence, Grant(TAKEOVER))):
        state = started(WITNESS)
        _, effects = advance(state, Received(100.0 + waited, agent_of(WEST), Ask(TAKEOVER)))
        assert sent(effects) == [answer]


def test_a_site_that_was_taken_over_removes_and_then_asks_for_its_right_with_the_new_epoch() -> None:
    state = started(agent_of(EAST))
    state, effects = advance(state, Received(101.0, WITNESS, Refusal(TAKEOVER, NOTHING)))
    assert effects == (Remove(TAKEOVER),)
    assert not has_right(fed(state, 101.2, acked(state, 101.1)), 101.3)
    state, effects = advance(state, Tick(101.3))
    assert Remove(TAKEOVER) in effects  # until it is done
    state, effects = advance(state, Removed(102.0, 1))
    assert isinstance(effects[0], Store)
    _, effects = advance(state, Tick(102.0))
    assert {message.epoch for message in sent(effects) if isinstance(message, Heartbeat)} == {1}


def test_a_takeover_is_asked_for_only_when_a_majority_would_grant_it() -> None:
    state = started(agent_of(WEST))
    state = fed(state, 104.0, acked(state, 103.9, sees(heard=0.2, free=3.5)))
    _, effects = advance(state, TakeOver(104.0, EAST, TAKEOVER.services))
    (refused,) = effects
    assert refused == Refused(EAST, ("a takeover needs 2 of 3 voters: the witness heard east 0.2 s ago",))
    state = fed(state, 108.0, acked(state, 107.9, sees(heard=4.2, free=0.0)))
    state, effects = advance(state, TakeOver(108.0, EAST, TAKEOVER.services))
    assert isinstance(effects[0], Store)
    assert sent(effects) == [Ask(TAKEOVER)]
    _, effects = advance(state, Received(108.1, WITNESS, Grant(TAKEOVER)))
    assert [type(effect) for effect in effects] == [Store, Won]


def won_by_west() -> State:
    """West has taken the shop over, and nobody has heard east since."""
    state = started(agent_of(WEST))
    state = fed(state, 108.0, acked(state, 107.9, sees(heard=4.2, free=0.0)))
    state, _ = advance(state, TakeOver(108.0, EAST, TAKEOVER.services))
    return fed(state, 108.1, (WITNESS, Grant(TAKEOVER)))


def test_more_services_are_taken_over_by_another_takeover_that_names_all() -> None:
    state = won_by_west()
    state, effects = advance(state, TakeOver(108.2, EAST, MORE.services[1:]))
    assert sent(effects) == [Ask(MORE)]
    assert state.candidacies[EAST].takeover.extends == TAKEOVER
    assert state.ledger.won == (TAKEOVER,)  # goes on to be carried out
    state, effects = advance(state, Received(108.3, WITNESS, Grant(MORE)))
    assert [type(effect) for effect in effects] == [Store, Won]
    assert state.ledger.won == (MORE,)
    assert advance(state, TakeOver(108.4, EAST, TAKEOVER.services)) == (state, ())


def test_what_was_won_stands_when_more_is_denied() -> None:
    state, _ = advance(won_by_west(), TakeOver(108.2, EAST, MORE.services))
    state = fed(state, 108.3, (WITNESS, Denial(MORE, 2)))
    assert (state.entry(EAST).granted, state.ledger.won) == (TAKEOVER, (TAKEOVER,))
    seen = replace(sees(heard=4.5, free=0.0), taken=(TAKEOVER,))
    state = fed(state, 108.4, acked(state, 108.3, seen))
    _, effects = advance(state, Tick(109.0))
    assert not [message for message in sent(effects) if isinstance(message, Withdrawal)]
    _, effects = advance(state, TakeOver(109.1, EAST, MORE.services))
    assert sent(effects) == [Ask(replace(MORE, epoch=3))]


def test_a_voter_gives_more_only_to_whom_it_has_given_and_takes_back_no_more_than_that() -> None:
    state = fed(started(WITNESS), 104.0, (agent_of(WEST), Ask(TAKEOVER)))
    for other in (replace(MORE, services=MORE.services[1:]), replace(MORE, by_epoch=1)):
        _, effects = advance(state, Received(104.1, agent_of(WEST), Ask(other)))
        assert sent(effects) == [Denial(other, 2)]
    state, effects = advance(state, Received(104.1, agent_of(WEST), Ask(MORE)))
    assert sent(effects) == [Grant(MORE)]
    east = Heartbeat(Stamp(incarnation=1, sent=0.0), 1, NOTHING)  # it was told of the first, and has removed that
    _, effects = advance(state, Received(104.2, agent_of(EAST), east))
    assert [message.taken for message in sent(effects) if isinstance(message, Refusal)] == [MORE]
    state = fed(state, 104.3, (agent_of(WEST), Withdrawal(MORE)))
    _, effects = advance(state, Received(104.4, agent_of(EAST), replace(east, epoch=0)))
    assert [message.taken for message in sent(effects) if isinstance(message, Refusal)] == [TAKEOVER]


@pytest.mark.parametrize(
    ("heard", "free", "condition", "may_act"),
    [(0.1, 3.6, Condition.UP, ()), (3.5, 0.3, Condition.UNREACHABLE, ()), (4.0, 0.0, Condition.LOST, (WEST,))],
)
def test_a_site_is_judged_by_all_vantage_points_together(
    heard: float, free: float, condition: Condition, may_act: tuple[SiteId, ...]
) -> None:
    state = started(agent_of(WEST))
    state = fed(state, 110.0, acked(state, 109.9, sees(heard=heard, free=free)))
    east = judge(state, 110.0).sites[0]
    assert (east.condition, east.may_act) == (condition, may_act)
    assert east.seen[WITNESS].heard_s == pytest.approx(heard)
    assert east.seen[agent_of(WEST)].heard_s is None  # not since it started
    (why,) = east.reasons
    assert f"the witness heard east {heard:.1f} s ago" in why
    assert why.startswith("west may act for east" if may_act else "west may not act for east")


def test_an_agent_that_hears_nobody_can_tell_nothing_and_says_so() -> None:
    state = started(agent_of(WEST))
    judgement = judge(state, 200.0)
    assert not judgement.has_right
    assert judgement.why == "fewer than 2 of 3 voters have acknowledged it within 3 s"
    east, west = judgement.sites
    assert east.condition is Condition.UNREACHABLE
    assert "the witness is not heard from west" in east.reasons[0]
    unheard = "east is not heard from west; the witness is not heard from west"
    assert west.reasons == (
        f"east may not act for west: east is unreachable itself; a takeover needs 2 of 3 voters: {unheard}",
    )
