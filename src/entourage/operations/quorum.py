"""Who may act when a site is lost, as every agent of a lab tells it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entourage.lab.agents import agents, client
from entourage.lab.place import Lab
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
