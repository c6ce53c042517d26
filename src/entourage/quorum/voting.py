"""The voter's half of the protocol: which heartbeats are acknowledged, which takeovers granted, and what is seen."""

from collections.abc import Mapping
from dataclasses import replace

from entourage.model.ids import SiteId
from entourage.quorum.types import (
    Ack,
    Ask,
    Denial,
    Effect,
    Entry,
    Grant,
    Heartbeat,
    Refusal,
    Send,
    Sighting,
    State,
    Store,
    Takeover,
    View,
    Withdrawal,
    agent_of,
)

Advanced = tuple[State, tuple[Effect, ...]]


def view(state: State, now: float) -> View:
    """What this agent sees now."""
    sightings = {
        site: Sighting(
            heard=0.0 if agent_of(site) == state.me else _since(state.heard, site, now),
            free=max(0.0, free_at(state, site, now) - now),
        )
        for site in state.sites
    }
    taken = tuple(entry.taken for entry in state.ledger.entries.values() if entry.taken is not None)
    return View(sightings=sightings, taken=taken)


def free_at(state: State, site: SiteId, now: float) -> float:
    """From when on this voter may grant a takeover of the site, if nothing is heard of it any more.

    Not while it has acknowledged a heartbeat within `silence`, nor within `silence` of its own start: it does not know
    what it acknowledged before. A site's own agent is heard by itself at all times.
    """
    if agent_of(site) == state.me:
        return now + state.terms.silence
    return max(state.began, state.acknowledged.get(site, state.began)) + state.terms.silence


def on_heartbeat(state: State, site: SiteId, beat: Heartbeat, now: float) -> Advanced:
    """Acknowledge it, and keep durably if the site's epoch is higher; or refuse it, if the site was taken over."""
    state = replace(state, heard={**state.heard, site: now})
    entry = state.entry(site)
    if entry.taken is not None and beat.epoch < entry.taken.epoch:
        return state, (Send(agent_of(site), Refusal(entry.taken, view(state, now))),)
    if beat.epoch < entry.epoch:  # sent before the site removed what it had; it has gone on since
        return state, ()
    stored: tuple[Effect, ...] = ()
    if beat.epoch > entry.epoch:
        state, stored = keep(state, site, replace(entry, epoch=beat.epoch, spent=max(entry.spent, beat.epoch)))
    state = replace(state, acknowledged={**state.acknowledged, site: now})
    return state, (*stored, Send(agent_of(site), Ack(beat.stamp, beat.epoch, view(state, now))))


def on_ask(state: State, ask: Ask, now: float) -> Advanced:
    """Grant or deny; either is final and durable before it is told."""
    takeover = ask.takeover
    asker = agent_of(takeover.by)
    entry = state.entry(takeover.lost)
    if entry.granted == takeover:
        return state, (Send(asker, Grant(takeover)),)
    if takeover.epoch <= entry.spent:
        return state, (Send(asker, Denial(takeover, entry.spent)),)
    if may_grant(state, takeover, now):
        state, stored = keep(state, takeover.lost, replace(entry, granted=takeover, spent=takeover.epoch))
        return state, (*stored, Send(asker, Grant(takeover)))
    state, stored = keep(state, takeover.lost, replace(entry, spent=takeover.epoch))
    return state, (*stored, Send(asker, Denial(takeover, takeover.epoch)))


def may_grant(state: State, takeover: Takeover, now: float) -> bool:
    """Whether the lost site has been silent for long enough here, nobody else has it, and the asker is in its right.

    Whoever has it already may ask for more of its services.
    """
    asker = state.entry(takeover.by)
    return (
        now >= free_at(state, takeover.lost, now)
        and takeover.may_follow(state.entry(takeover.lost).taken)
        and asker.taken is None
        and asker.epoch <= takeover.by_epoch
    )


def on_withdrawal(state: State, withdrawal: Withdrawal) -> Advanced:
    """The takeover is as if it had never been granted, and is never granted again; what it extended still is."""
    takeover = withdrawal.takeover
    entry = state.entry(takeover.lost)
    granted = takeover.extends if entry.granted == takeover else entry.granted
    changed = replace(entry, granted=granted, spent=max(entry.spent, takeover.epoch))
    return (state, ()) if changed == entry else keep(state, takeover.lost, changed)


def keep(state: State, site: SiteId, entry: Entry) -> Advanced:
    """The state with that entry, and the effect that makes it durable."""
    ledger = replace(state.ledger, entries={**state.ledger.entries, site: entry})
    return replace(state, ledger=ledger), (Store(ledger),)


def _since(when: Mapping[SiteId, float], site: SiteId, now: float) -> float | None:
    return now - when[site] if site in when else None
