"""An agent of the lease protocol: what it does when time passes, a message comes, or somebody asks something of it."""

from dataclasses import replace

from entourage.model.ids import SiteId
from entourage.quorum.claiming import claim, on_denial, on_grant, resume_claims, retry_claims
from entourage.quorum.rights import has_right, right_until, taken_for_sure
from entourage.quorum.types import (
    Ack,
    AgentId,
    Ask,
    Denial,
    Effect,
    Event,
    Grant,
    Heartbeat,
    Ledger,
    Message,
    Permit,
    Received,
    Refusal,
    Remove,
    Removed,
    Send,
    Settled,
    Stamp,
    State,
    Store,
    TakeOver,
    Takeover,
    Terms,
    Tick,
    View,
    Withdrawal,
    Won,
    agent_of,
)
from entourage.quorum.voting import Advanced, keep, on_ask, on_heartbeat, on_withdrawal, view


def begin(me: AgentId, sites: tuple[SiteId, ...], *, terms: Terms, ledger: Ledger, now: float) -> Advanced:
    """An agent that starts, with what it has kept (an empty `Ledger` if nothing). ValueError if it is none of these."""
    ledger = replace(ledger, starts=ledger.starts + 1)
    state = State(me=me, sites=sites, terms=terms, ledger=ledger, began=now, next_beat=now)
    if me not in state.voters or len(set(sites)) != len(sites):
        raise ValueError(f"{me} is no agent of the sites {', '.join(sites)}, each of which is there once")
    state = resume_claims(state)
    return state, (Store(ledger), *(Won(takeover) for takeover in ledger.won))


def advance(state: State, event: Event) -> Advanced:
    """What follows. The effects are to be carried out in their order."""
    match event:
        case Tick(now=now):
            return _beat(state, now) if now >= state.next_beat else (state, ())
        case Received(now=now, sender=sender, message=message):
            return _on_message(state, sender, message, now) if sender in state.others else (state, ())
        case TakeOver(now=now, lost=lost, services=services):
            return claim(state, lost, services, now)
        case Removed(now=now, epoch=epoch):
            return _on_removed(state, epoch, now)
        case Settled(takeover=takeover):
            ledger = replace(state.ledger, won=tuple(each for each in state.ledger.won if each != takeover))
            return replace(state, ledger=ledger), (Store(ledger),)


def _beat(state: State, now: float) -> Advanced:
    state = replace(state, next_beat=now + state.terms.beat)
    effects: list[Effect] = []
    if state.site is not None:
        stamp = Stamp(incarnation=state.ledger.starts, sent=now)
        beat = Heartbeat(stamp, state.entry(state.site).epoch, view(state, now))
        effects += [Send(other, beat) for other in state.others]
        if state.removing is not None:  # asked for again until it is done
            effects.append(Remove(state.removing))
    state, asked = retry_claims(state)
    return state, (*effects, *asked)


def _on_message(state: State, sender: AgentId, message: Message, now: float) -> Advanced:
    match message:
        case Heartbeat():
            if SiteId(sender) not in state.sites:
                return state, ()
            state = _seen(state, sender, message.view, now)
            return on_heartbeat(state, SiteId(sender), message, now)
        case Ack(stamp=stamp, epoch=epoch):
            return _on_ack(_seen(state, sender, message.view, now), sender, stamp, epoch)
        case Refusal(taken=taken):
            return _on_refusal(_seen(state, sender, message.view, now), sender, taken, now)
        case Ask(takeover=takeover):
            return on_ask(state, message, now) if sender == agent_of(takeover.by) else (state, ())
        case Withdrawal(takeover=takeover):
            return on_withdrawal(state, message) if sender == agent_of(takeover.by) else (state, ())
        case Grant():
            return on_grant(state, sender, message)
        case Denial():
            return on_denial(state, sender, message)


def _seen(state: State, sender: AgentId, seen: View, now: float) -> State:
    return replace(state, views={**state.views, sender: (now, seen)})


def _on_ack(state: State, sender: AgentId, stamp: Stamp, epoch: int) -> Advanced:
    site = state.site
    if site is None or stamp.incarnation != state.ledger.starts or epoch != state.entry(site).epoch:
        return state, ()
    sent = max(stamp.sent, state.proofs.get(sender, stamp.sent))
    told = {voter: takeover for voter, takeover in state.told.items() if voter != sender}
    state = replace(state, proofs={**state.proofs, sender: sent}, told=told)
    until = right_until(state)
    if until is None or (state.permitted is not None and until <= state.permitted):
        return state, ()
    return replace(state, permitted=until), (Permit(until),)


def _on_refusal(state: State, sender: AgentId, taken: Takeover, now: float) -> Advanced:
    site = state.site
    if site is None or taken.lost != site or taken.epoch <= state.entry(site).epoch:
        return state, ()
    state = replace(state, told={**state.told, sender: taken})
    sure = taken_for_sure(state)
    if sure is None or state.removing is not None or has_right(state, now):
        return state, ()
    return replace(state, removing=sure, permitted=None), (Remove(sure),)


def _on_removed(state: State, epoch: int, now: float) -> Advanced:
    """The old copies are gone: from now on with the new epoch, and nothing of what was claimed in the old one."""
    site = state.site
    if site is None or state.removing is None or state.removing.epoch != epoch:
        return state, ()
    state = replace(state, removing=None, proofs={}, told={}, next_beat=now)
    state = replace(state, ledger=replace(state.ledger, won=()))
    entry = state.entry(site)
    return keep(state, site, replace(entry, epoch=epoch, spent=max(entry.spent, epoch)))
