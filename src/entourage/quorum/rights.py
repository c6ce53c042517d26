"""Whether this agent's site may run its services now, by what the voters have acknowledged or refused."""

from entourage.quorum.types import State, Takeover, agent_of


def right_until(state: State) -> float | None:
    """Until when this site may run its services, by its own clock; None if it has not been allowed to at all.

    `lease` after it sent the youngest heartbeats that, with itself, a majority has acknowledged.
    """
    if state.site is None or state.removing is not None:
        return None
    sent = sorted(state.proofs.values(), reverse=True)
    needed = state.majority - 1  # besides itself
    return sent[needed - 1] + state.terms.lease if len(sent) >= needed else None


def has_right(state: State, now: float) -> bool:
    """Whether this site may run its services now."""
    until = right_until(state)
    return until is not None and now < until


def may_start(state: State, now: float) -> tuple[Takeover, ...]:
    """The takeovers that this site has won and may carry out now."""
    return state.ledger.won if has_right(state, now) else ()


def taken_for_sure(state: State) -> Takeover | None:
    """The takeover of this site that a majority has granted, as far as they have told: who took it granted it first."""
    for takeover in sorted(set(state.told.values()), key=lambda each: -each.epoch):
        voters = {voter for voter, told in state.told.items() if told == takeover} | {agent_of(takeover.by)}
        if len(voters) >= state.majority:
            return takeover
    return None
