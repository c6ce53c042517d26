"""What an agent can tell people and rules: which sites are up or lost, who heard what when, who may act and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from entourage.model.ids import SiteId
from entourage.quorum.rights import has_right, right_until, taken_for_sure
from entourage.quorum.types import AgentId, Sighting, State, Takeover, View, agent_of
from entourage.quorum.voting import view


class Condition(Enum):
    """What can be told of a site, from all vantage points together."""

    UP = "up"  # a majority of the voters, the site itself counted, hears it: it has its right, or is about to
    UNREACHABLE = "unreachable"  # not enough of them hear it, and not enough of them say that it is gone
    LOST = "lost"  # a majority without it has been without it for so long that they may grant a takeover, or have


@dataclass(frozen=True, slots=True, kw_only=True)
class Vantage:
    """What one agent knows of a site. `heard_s`: since it last heard of it; None: never, since it started.

    `told_s`: how old this knowledge is; None: that agent has not been heard itself, so it counts for nothing.
    """

    heard_s: float | None
    told_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteJudgement:
    """One site. `taken`: the takeover of it that stands; `may_act`: the sites that may now, as far as can be told.

    `reasons`: a sentence for each other site, why it may act for this one or not.
    """

    site: SiteId
    condition: Condition
    seen: Mapping[AgentId, Vantage]
    taken: Takeover | None
    may_act: tuple[SiteId, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the agent `me` can tell. `right_s`: so long its site may go on without another acknowledgement (below 0:

    so long it has had no right any more); None for a witness, or if it has not had it since it started.
    """

    me: AgentId
    has_right: bool
    right_s: float | None
    why: str
    sites: tuple[SiteJudgement, ...]


def judge(state: State, now: float) -> Judgement:
    """What can be told now."""
    until = right_until(state)
    return Judgement(
        me=state.me,
        has_right=has_right(state, now),
        right_s=None if until is None else until - now,
        why=_why(state, now),
        sites=tuple(_site(state, site, now) for site in state.sites),
    )


def condition(state: State, site: SiteId, now: float) -> Condition:
    """What can be told of that site."""
    hearing = {agent_of(site)} | {
        voter for voter, told in _fresh(state, now).items() if _hears(state, told[1].sightings.get(site), told[0], now)
    }
    if _taken(state, site, now) is not None or len(_free(state, site, now)) >= state.majority:
        return Condition.LOST
    return Condition.UP if len(hearing) >= state.majority else Condition.UNREACHABLE


def objections(state: State, lost: SiteId, by: SiteId, now: float, *, has_it: bool = False) -> tuple[str, ...]:
    """Why `by` may not take `lost` over now, a sentence each; none if it may, as far as this agent can tell.

    `has_it`: it has, and asks for more of its services.
    """
    if lost not in state.sites or by not in state.sites or lost == by:
        return (f"{by} cannot act for {lost}: the sites are {', '.join(state.sites)}, and none acts for itself",)
    found = []
    if by == state.site and not has_right(state, now):
        found.append(f"{by} has no right to run anything itself: {_why(state, now)}")
    if by != state.site and condition(state, by, now) is not Condition.UP:
        found.append(f"{by} is {condition(state, by, now).value} itself")
    taken = _taken(state, lost, now)
    granted = state.entry(lost).taken
    if has_it and granted is not None and granted.by_epoch != state.entry(by).epoch:
        found.append(f"{by} has been taken over itself since it took {lost} over")
    if has_it:
        pass  # nobody else has
    elif taken is not None:
        found.append(f"{taken.by} acts for {lost} already")
    elif granted is not None:
        found.append(f"{state.me} has granted {granted.by} to act for {lost}, and a majority may have")
    free = _free(state, lost, now)
    if agent_of(by) not in free or len(free) < state.majority:
        against = [_sentence(state, voter, lost, now) for voter in state.voters if voter not in free | {agent_of(lost)}]
        found.append(f"a takeover needs {state.majority} of {len(state.voters)} voters: {'; '.join(against)}")
    return tuple(found)


def _site(state: State, site: SiteId, now: float) -> SiteJudgement:
    told = {state.me: (now, view(state, now)), **state.views}
    seen = {
        voter: _vantage(told[voter], site, now) if voter in told else Vantage(heard_s=None, told_s=None)
        for voter in state.voters
        if voter != agent_of(site)
    }
    found = {other: objections(state, site, other, now) for other in state.sites if other != site}
    free = "; ".join(_sentence(state, voter, site, now) for voter in sorted(_free(state, site, now)))
    return SiteJudgement(
        site=site,
        condition=condition(state, site, now),
        seen=seen,
        taken=_taken(state, site, now),
        may_act=tuple(other for other, against in found.items() if not against),
        reasons=tuple(
            f"{other} may not act for {site}: {'; '.join(against)}"
            if against
            else f"{other} may act for {site}: {free}"
            for other, against in found.items()
        ),
    )


def _vantage(told: tuple[float, View], site: SiteId, now: float) -> Vantage:
    at, seen = told
    sighting = seen.sightings.get(site)
    heard = None if sighting is None or sighting.heard is None else sighting.heard + now - at
    return Vantage(heard_s=heard, told_s=now - at)


def _fresh(state: State, now: float) -> Mapping[AgentId, tuple[float, View]]:
    """What each agent sees, its own view included, if it told so within the lease."""
    told = {state.me: (now, view(state, now)), **state.views}
    return {voter: (at, seen) for voter, (at, seen) in told.items() if now - at <= state.terms.lease}


def _hears(state: State, sighting: Sighting | None, at: float, now: float) -> bool:
    return sighting is not None and sighting.heard is not None and sighting.heard + now - at <= state.terms.lease


def _free(state: State, lost: SiteId, now: float) -> frozenset[AgentId]:
    """The voters that may grant a takeover of the site now, as far as they have told."""
    return frozenset(
        voter
        for voter, (at, seen) in _fresh(state, now).items()
        if voter != agent_of(lost) and lost in seen.sightings and seen.sightings[lost].free <= now - at
    )


def _taken(state: State, lost: SiteId, now: float) -> Takeover | None:
    """The takeover of it that a majority has granted, as far as they have told."""
    granted: dict[Takeover, set[AgentId]] = {}
    for voter, (_, seen) in _fresh(state, now).items():
        for takeover in seen.taken:
            if takeover.lost == lost:
                granted.setdefault(takeover, {agent_of(takeover.by)}).add(voter)
    return next((takeover for takeover, voters in granted.items() if len(voters) >= state.majority), None)


def _sentence(state: State, voter: AgentId, site: SiteId, now: float) -> str:
    told = _fresh(state, now).get(voter)
    if told is None:
        return f"{voter} is not heard from {state.me}"
    heard = _vantage(told, site, now).heard_s
    return (
        f"{voter} has not heard {site} since it started" if heard is None else f"{voter} heard {site} {heard:.1f} s ago"
    )


def _why(state: State, now: float) -> str:
    if state.site is None:
        return "a witness runs no services"
    if state.removing is not None:
        return f"{state.removing.by} has taken it over, and what is left here is being removed"
    until = right_until(state)
    if until is not None and now < until:
        return f"{state.majority} of {len(state.voters)} voters have acknowledged it"
    sure = taken_for_sure(state)
    if sure is not None:
        return f"{sure.by} has taken it over"
    if state.told:
        told = next(iter(state.told.values()))
        return f"a takeover by {told.by} has been granted by {', '.join(sorted(state.told))}"
    return (
        f"fewer than {state.majority} of {len(state.voters)} voters have acknowledged it within {state.terms.lease:g} s"
    )
