"""The survivor's half of the protocol: a takeover asked for, granted by a majority, or given up."""

from collections.abc import Mapping
from dataclasses import replace

from entourage.model.ids import ServiceId, SiteId
from entourage.quorum.judging import objections
from entourage.quorum.types import (
    AgentId,
    Ask,
    Candidacy,
    Denial,
    Effect,
    Grant,
    Refused,
    Send,
    State,
    Store,
    Takeover,
    Withdrawal,
    Won,
    agent_of,
)
from entourage.quorum.voting import Advanced, keep, may_grant


def claim(state: State, lost: SiteId, services: tuple[ServiceId, ...], now: float) -> Advanced:
    """Ask for a takeover, if by what all have told a majority would grant it; else say why not.

    It is granted here first, durably: so whoever hears of one other voter's grant knows of two. Services besides those
    of one that was won are asked for with another one that takes its place.
    """
    site = state.site
    if site is None:
        return state, (Refused(lost, ("a witness acts for nobody",)),)
    if lost in state.candidacies:
        return state, ()  # it is being asked for
    entry = state.entry(lost)
    before = entry.taken if entry.taken is not None and entry.taken.by == site else None
    more = tuple(each for each in services if before is not None and each not in before.services)
    if not more and any(each.lost == lost for each in state.ledger.won):
        return state, ()  # it is won already
    if against := objections(state, lost, site, now, has_it=bool(more)):
        return state, (Refused(lost, against),)
    takeover = Takeover(
        lost=lost,
        epoch=entry.spent + 1,
        by=site,
        by_epoch=state.entry(site).epoch,
        services=(*before.services, *more) if before is not None else tuple(services),
        extends=before and replace(before, extends=None),
    )
    assert may_grant(state, takeover, now)  # else there were objections
    state, stored = keep(state, lost, replace(entry, granted=takeover, spent=takeover.epoch))
    state = _candidate(state, takeover)
    asked = tuple(Send(other, Ask(takeover)) for other in state.others if other != agent_of(lost))
    return state, (*stored, *asked)


def resume_claims(state: State) -> State:
    """After a start: what was asked for before and is neither won nor given up is asked for again."""
    for entry in state.ledger.entries.values():
        granted = entry.granted
        if granted is not None and granted.by == state.site and granted.epoch > entry.closed:
            state = _candidate(state, granted)
    return state


def retry_claims(state: State) -> Advanced:
    """Ask again whoever has not answered; tell whoever still has a grant that was given up."""
    effects: list[Effect] = []
    for candidacy in state.candidacies.values():
        silent = [other for other in state.others if other not in candidacy.granted | candidacy.denied]
        effects += [Send(other, Ask(candidacy.takeover)) for other in silent]
    for other, (_, view) in state.views.items():
        for takeover in view.taken:
            if takeover.by == state.site and _is_given_up(state, takeover):
                effects.append(Send(other, Withdrawal(takeover)))
    return state, tuple(effects)


def on_grant(state: State, sender: AgentId, grant: Grant) -> Advanced:
    """One more; with a majority the takeover is won, which is durable before anything is started."""
    takeover = grant.takeover
    candidacy = state.candidacies.get(takeover.lost)
    if candidacy is None or candidacy.takeover != takeover:
        return state, ()
    candidacy = replace(candidacy, granted=candidacy.granted | {sender})
    if len(candidacy.granted) < state.majority:
        return replace(state, candidacies={**state.candidacies, takeover.lost: candidacy}), ()
    state = replace(state, candidacies=_without(state.candidacies, takeover.lost))
    state, stored = keep(state, takeover.lost, replace(state.entry(takeover.lost), closed=takeover.epoch))
    if state.site is None or state.entry(state.site).epoch != takeover.by_epoch:
        return state, stored  # this site has been taken over itself since: whoever did that has to do this, too
    others = tuple(each for each in state.ledger.won if each != takeover.extends)
    ledger = replace(state.ledger, won=(*others, takeover))
    return replace(state, ledger=ledger), (Store(ledger), Won(takeover))


def on_denial(state: State, sender: AgentId, denial: Denial) -> Advanced:
    """One less; when so many have denied that no majority can be left, it is given up for good."""
    takeover = denial.takeover
    candidacy = state.candidacies.get(takeover.lost)
    if candidacy is None or candidacy.takeover != takeover or sender in candidacy.granted:
        return state, ()
    candidacy = replace(candidacy, denied=candidacy.denied | {sender})
    entry = state.entry(takeover.lost)
    spent = max(entry.spent, denial.spent)
    if len(state.voters) - len(candidacy.denied) >= state.majority:
        state = replace(state, candidacies={**state.candidacies, takeover.lost: candidacy})
        return keep(state, takeover.lost, replace(entry, spent=spent))
    state = replace(state, candidacies=_without(state.candidacies, takeover.lost))
    state, stored = keep(state, takeover.lost, replace(entry, granted=takeover.extends, spent=spent))
    withdrawn = tuple(Send(other, Withdrawal(takeover)) for other in state.others)
    return state, (*stored, *withdrawn)


def _candidate(state: State, takeover: Takeover) -> State:
    candidacy = Candidacy(takeover=takeover, granted=frozenset({state.me}), denied=frozenset({agent_of(takeover.lost)}))
    return replace(state, candidacies={**state.candidacies, takeover.lost: candidacy})


def _is_given_up(state: State, takeover: Takeover) -> bool:
    entry = state.entry(takeover.lost)
    standing = (entry.granted, entry.granted and entry.granted.extends)
    return takeover not in standing and entry.epoch < takeover.epoch


def _without(candidacies: Mapping[SiteId, Candidacy], lost: SiteId) -> dict[SiteId, Candidacy]:
    return {site: candidacy for site, candidacy in candidacies.items() if site != lost}
