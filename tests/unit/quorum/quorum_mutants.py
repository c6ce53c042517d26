"""The lease protocol with planted faults, each of which its world has to find."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from quorum_faults import on_the_brink, random_faults
from quorum_world import Cut, End, Fault, World

from entourage.model.ids import SiteId
from entourage.quorum import WITNESS, AgentId, State, Takeover, claiming, judging, machine, voting
from entourage.quorum.types import (
    Ack,
    Ask,
    Denial,
    Entry,
    Event,
    Grant,
    Heartbeat,
    Ledger,
    Received,
    Refusal,
    Removed,
    Send,
    Stamp,
    Store,
    agent_of,
)
from entourage.quorum.voting import Advanced

EAST, WEST = AgentId("east"), AgentId("west")
_P = "entourage.quorum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A planted fault in words, what it replaces by dotted name, and in a world of how many sites it shows.

    `faults`: what befalls that world by a seed, where what befalls the others would take long to find it.
    """

    name: str
    changes: Mapping[str, object]
    sites: int = 2
    faults: Callable[[int, int], list[Fault]] = random_faults

    @contextmanager
    def planted(self) -> Iterator[None]:
        """While this is open the protocol has the fault."""
        with ExitStack() as stack:
            for name, replacement in self.changes.items():
                stack.enter_context(patch(name, replacement))
            yield


def _a_new_witness(seed: int, sites: int) -> list[Fault]:
    """The sites do not hear each other, and the witness starts again just when it does not hear one of them."""
    return [Cut(1, 30, EAST, WEST), Cut(1, 30, WEST, EAST), End(9, 1, WITNESS, 0, True), Cut(9, 2, EAST, WITNESS)]


def _free_after_the_lease_only(state: State, site: SiteId, now: float) -> float:
    return voting_free_at(state, site, now) - state.terms.margin


def _free_at_once_after_a_start(state: State, site: SiteId, now: float) -> float:
    if agent_of(site) == state.me:
        return now + 1.0
    return state.acknowledged.get(site, state.began - state.terms.silence) + state.terms.silence


def _free_always(state: State, site: SiteId, now: float) -> float:
    return now + (1.0 if agent_of(site) == state.me else 0.0)


def _counts_from_when_it_was_told(state: State, event: Event) -> Advanced:
    if isinstance(event, Received) and isinstance(event.message, Ack):
        stamp = Stamp(incarnation=event.message.stamp.incarnation, sent=event.now)
        event = replace(event, message=replace(event.message, stamp=stamp))
    return real_advance(state, event)


def _acknowledges_the_lost(state: State, site: SiteId, beat: Heartbeat, now: float) -> Advanced:
    state, effects = real_on_heartbeat(state, site, beat, now)
    if any(isinstance(effect, Send) and isinstance(effect.message, Refusal) for effect in effects):
        return state, (Send(agent_of(site), Ack(beat.stamp, beat.epoch, voting.view(state, now))),)
    return state, effects


def _forgets(state: State, site: SiteId, entry: Entry) -> Advanced:
    state, _ = real_keep(state, site, entry)
    return state, ()


def _needs_one_less(state: State) -> int:
    return len(state.voters) // 2


def _wins_alone(state: State, sender: Any, grant: Grant) -> Advanced:
    return real_on_grant(replace(state, sites=state.sites[:1]), sender, grant)


def _goes_on_with_what_it_has(state: State, event: Event) -> Advanced:
    """Takes the new epoch without having removed anything."""
    state, effects = real_advance(state, event)
    if state.removing is not None and state.site is not None:
        state, more = real_advance(state, Removed(event.now, state.removing.epoch))
        return state, more
    return state, effects


def _never_told(state: State, site: SiteId, beat: Heartbeat, now: float) -> Advanced:
    state, effects = real_on_heartbeat(state, site, beat, now)
    return state, tuple(e for e in effects if not (isinstance(e, Send) and isinstance(e.message, Refusal)))


def _takes_the_first_word(state: State) -> Takeover | None:
    return next(iter(state.told.values()), None)


def _never_gives_up(state: State, sender: Any, denial: Denial) -> Advanced:
    return state, ()


def _tells_before_it_stores(state: State, ask: Ask, now: float) -> Advanced:
    state, effects = real_on_ask(state, ask, now)
    return state, tuple(sorted(effects, key=lambda effect: isinstance(effect, Store)))


def _forgets_what_it_won(me: Any, sites: Any, *, terms: Any, ledger: Ledger, now: float) -> Advanced:
    return real_begin(me, sites, terms=terms, ledger=replace(ledger, won=()), now=now)


def _claims_twice(state: State, lost: SiteId, by: SiteId, now: float, *, has_it: bool = False) -> tuple[str, ...]:
    """Does not look at what it has granted, or what others have won."""
    entries = {**state.ledger.entries, lost: replace(state.entry(lost), granted=None)}
    state = replace(state, ledger=replace(state.ledger, entries=entries))
    found = real_objections(state, lost, by, now, has_it=has_it)
    return tuple(each for each in found if "acts for" not in each)


def _gives_to_anybody(takeover: Takeover, granted: Takeover | None) -> bool:
    return True


def _alone(**given: Any) -> Takeover:
    return Takeover(**{**given, "extends": None})


real_advance, real_begin = machine.advance, machine.begin
real_on_heartbeat, real_on_ask, real_keep, voting_free_at = (
    voting.on_heartbeat,
    voting.on_ask,
    voting.keep,
    voting.free_at,
)
real_on_grant, real_objections = claiming.on_grant, judging.objections

MUTANTS = (
    Mutant(name="a voter waits for the lease only", changes={f"{_P}.voting.free_at": _free_after_the_lease_only}),
    Mutant(
        name="a voter grants at once after its start",
        changes={f"{_P}.voting.free_at": _free_at_once_after_a_start},
        faults=_a_new_witness,
    ),
    Mutant(name="a voter grants whenever it is asked", changes={f"{_P}.voting.free_at": _free_always}),
    Mutant(name="a lease counts from its answer", changes={f"{_P}.machine.advance": _counts_from_when_it_was_told}),
    Mutant(
        name="a voter acknowledges whom it has given away",
        changes={f"{_P}.machine.on_heartbeat": _acknowledges_the_lost},
    ),
    Mutant(name="a grant is in memory only", changes={f"{_P}.voting.keep": _forgets}),
    Mutant(
        name="half of the voters are enough", changes={f"{_P}.types.State.majority": property(_needs_one_less)}, sites=3
    ),
    Mutant(name="the own grant is enough", changes={f"{_P}.machine.on_grant": _wins_alone}, sites=3),
    Mutant(name="old copies stay", changes={f"{_P}.machine.advance": _goes_on_with_what_it_has}),
    Mutant(name="nobody tells the one that comes back", changes={f"{_P}.machine.on_heartbeat": _never_told}),
    Mutant(
        name="one voter's word is enough to remove", changes={f"{_P}.machine.taken_for_sure": _takes_the_first_word}
    ),
    Mutant(
        name="what is denied is never given up",
        changes={f"{_P}.machine.on_denial": _never_gives_up},
        faults=on_the_brink,
    ),
    Mutant(
        name="a grant is told before it is kept",
        changes={f"{_P}.machine.on_ask": _tells_before_it_stores},
        faults=on_the_brink,
    ),
    Mutant(
        name="a start forgets what was won", changes={f"{_P}.machine.begin": _forgets_what_it_won}, faults=on_the_brink
    ),
    Mutant(
        name="what was given away is claimed, and given, again",
        changes={f"{_P}.claiming.objections": _claims_twice, f"{_P}.types.Takeover.may_follow": _gives_to_anybody},
        sites=3,
    ),
    Mutant(
        name="what was won is given up with what was asked for besides",
        changes={f"{_P}.claiming.Takeover": _alone},
        faults=on_the_brink,
    ),
)


def caught_at(mutant: Mutant, *, seeds: int) -> str | None:
    """The first seed below `seeds` whose run shows that something is wrong, and what; an error counts too."""
    with mutant.planted():
        for seed in range(seeds):
            try:
                world = World(mutant.sites, mutant.faults(seed, mutant.sites), seed=seed).run()
            except AssertionError as error:
                return f"seed {seed}: {error!r}"
            if world.violations:
                return f"seed {seed}: {world.violations[0]}"
    return None
