"""Who may act when a site is lost, as every agent of a lab tells it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entourage.lab.agents import agents, client
from entourage.lab.place import Place
from entourage.ports.errors import TemporaryError
from entourage.quorum import AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumSeen:
    """What each agent tells, as `entourage.drivers.quorum.telling` has it; None for one that does not answer."""

    lab: str
    told: Mapping[AgentId, Mapping[str, Any] | None]

    def to_json(self) -> dict[str, Any]:
        """The document of `entourage quorum --json`."""
        return {"schema": "entourage.quorum/1", "lab": self.lab, "agents": dict(self.told)}


async def look_at_quorum(place: Place) -> QuorumSeen:
    """Ask all agents of the lab."""
    everybody = agents(place)
    told = await asyncio.gather(*(_ask(place, agent) for agent in everybody))
    return QuorumSeen(lab=place.name, told=dict(zip(everybody, told, strict=True)))


async def _ask(place: Place, agent: AgentId) -> Mapping[str, Any] | None:
    try:
        return await client(place, agent).status()
    except TemporaryError:
        return None
