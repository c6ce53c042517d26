"""Who may act when a site is lost, as every agent of a lab tells it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from entourage.lab.agents import agents, client
from entourage.lab.place import Lab
from entourage.model.ids import SiteId
from entourage.ports.errors import TemporaryError
from entourage.quorum import WITNESS, AgentId
from entourage.quorum.types import agent_of
from entourage.rules.view import SiteState


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumSeen:
    """What each agent tells, as `entourage.drivers.quorum.telling` has it; None for one that does not answer."""

    lab: str
    told: Mapping[AgentId, Mapping[str, Any] | None]

    def to_json(self) -> dict[str, Any]:
        """The document of `entourage quorum --json`."""
        return {"schema": "entourage.quorum/1", "lab": self.lab, "agents": dict(self.told)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SitesSeen:
    """The sites as the agents with a right, and the witness, tell of them.

    `may_act`: for a lost site who may start its services, or has taken it over; `why_not`: the others' reasons. `won`:
    takeovers that were granted and are not settled, with the site that has won each.
    """

    states: Mapping[SiteId, SiteState] = field(default_factory=dict)
    may_act: Mapping[SiteId, frozenset[SiteId]] = field(default_factory=dict)
    why_not: Mapping[SiteId, tuple[str, ...]] = field(default_factory=dict)
    won: tuple[tuple[SiteId, SiteId, int], ...] = ()  # winner, lost, epoch

    @property
    def lost(self) -> frozenset[SiteId]:
        """Those that are lost."""
        return frozenset(site for site, state in self.states.items() if state is SiteState.LOST)


def sites_seen(lab: Lab, seen: QuorumSeen) -> SitesSeen:
    """What rules are told. Nothing of a site of which nobody tells: then its hosts' own words count."""
    telling = {
        agent: told for agent, told in seen.told.items() if told is not None and (told["right"] or agent == WITNESS)
    }
    states: dict[SiteId, SiteState] = {}
    may_act: dict[SiteId, frozenset[SiteId]] = {}
    why_not: dict[SiteId, tuple[str, ...]] = {}
    for site in (each.id for each in lab.infrastructure.sites):
        said = {agent: told["sites"][site] for agent, told in telling.items() if agent != agent_of(site)}
        words = {each["condition"] for each in said.values()}
        if agent_of(site) in telling or "up" in words:
            states[site] = SiteState.UP
        elif said:
            states[site] = SiteState.LOST if words == {"lost"} else SiteState.UNREACHABLE
        acting = {SiteId(each["acting"]) for each in said.values() if each["acting"] is not None}
        own = {SiteId(agent): each for agent, each in said.items() if agent != WITNESS}
        may_act[site] = frozenset(acting or {other for other, each in own.items() if other in each["may_act"]})
        why_not[site] = tuple(
            reason for other, each in own.items() for reason in each["reasons"] if reason.startswith(other)
        )
    won = [
        (SiteId(agent), SiteId(each["lost"]), int(each["epoch"]))
        for agent, told in telling.items()
        for each in told["won"]
    ]
    return SitesSeen(states=states, may_act=may_act, why_not=why_not, won=tuple(won))


async def look_at_quorum(lab: Lab) -> QuorumSeen:
    """Ask all agents of the lab."""
    everybody = agents(lab)
    told = await asyncio.gather(*(_ask(lab, agent) for agent in everybody))
    return QuorumSeen(lab=lab.name, told=dict(zip(everybody, told, strict=True)))


async def _ask(lab: Lab, agent: AgentId) -> Mapping[str, Any] | None:
    try:
        return await client(lab, agent).status()
    except TemporaryError:
        return None
