"""Bringing a lab up with its service running, and taking it down."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from entourage.lab.agents import start_agents
from entourage.lab.errors import LabError
from entourage.lab.fabric import LabStatus
from entourage.lab.guards import start_guards
from entourage.lab.hosted import check_room
from entourage.lab.leftovers import exclusive, exclusive_move, leftovers, namespaces, remove
from entourage.lab.names import check_lab_name
from entourage.lab.place import LinkOverrides, Place, SpecTexts, known_labs, open_lab, open_place
from entourage.lab.setup import lab_root
from entourage.model.ids import ServiceId
from entourage.operations.observe import Observation, observe
from entourage.operations.quorum import look_at_quorum
from entourage.operations.recovering import create_database
from entourage.operations.starting import Progress, placement_of, start_service
from entourage.spec import read_text
from entourage.wiring import wire


@dataclass(frozen=True, slots=True, kw_only=True)
class LabState:
    """One lab. `is_whole`: it was brought up to its end, every node is there and every BGP session stands.

    `network` and `is_whole` are None for one who may not look: that takes root. `is_half_made`: it has no record (or
    none that this version can read), so it is still being brought up, or was left half-way; `network` is None then,
    too. `services`: those of the lab, and whether each is whole; one that is not makes the lab no less so.
    `agents`: which of them answer.
    """

    name: str
    is_half_made: bool
    is_whole: bool | None
    namespaces: int
    network: LabStatus | None
    services: Mapping[ServiceId, bool] = field(default_factory=dict)
    agents: Mapping[str, bool] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The lab for `lab status --json`."""
        network = None if self.network is None else asdict(self.network)
        return {
            "lab": self.name,
            "half_made": self.is_half_made,
            "whole": self.is_whole,
            "namespaces": self.namespaces,
            "network": network,
            "services": [{"service": service, "half_made": not whole} for service, whole in self.services.items()],
            "agents": dict(self.agents),
        }


def read_texts(
    sites: Path, service: Path, links: LinkOverrides | None = None, *, licences: Path | None = None
) -> SpecTexts:
    """The files' texts, and what inter-site links have instead; raises SpecError if a file cannot be read."""
    return SpecTexts(
        sites_file=str(sites),
        sites=read_text(sites),
        service_file=str(service),
        service=read_text(service),
        links=links or LinkOverrides(),
        licences_file="" if licences is None else str(licences),
        licences=None if licences is None else read_text(licences),
    )


async def lab_states(*, may_look: bool) -> list[LabState]:
    """Every lab of which something is there. `may_look`: inside the labs, too, which takes root."""
    return [await _lab_state(name, may_look=may_look) for name in known_labs()]


async def _lab_state(name: str, *, may_look: bool) -> LabState:
    spaces = len(namespaces(name))
    try:
        lab = open_lab(name)
    except LabError:
        return LabState(name=name, is_half_made=True, is_whole=False, namespaces=spaces, network=None)
    services = {kept.id: kept.is_whole for kept in lab.services}
    network = None
    is_whole: bool | None = None
    agents: dict[str, bool] = {}
    if may_look:
        network = await lab.fabric.status()
        agents = {str(agent): told is not None for agent, told in (await look_at_quorum(lab)).told.items()}
        sites = len(lab.infrastructure.sites)
        whole = (lab.place(service) for service, is_whole in services.items() if is_whole)
        is_whole = network.is_up and all(len(place.fabric.own_namespaces()) == sites for place in whole)
        is_whole = is_whole and all(agents.values())
    return LabState(
        name=name,
        is_half_made=False,
        is_whole=is_whole,
        namespaces=spaces,
        network=network,
        services=services,
        agents=agents,
    )


async def bring_up(place_: Place, texts: SpecTexts, progress: Progress) -> None:
    """Network, guards, guests, announcement, and last the record that says that the lab is up. Else nothing is left.

    Raises LabError, or whatever a driver raised.
    """
    check_room(place_.service, ())
    placement = placement_of(place_)
    await place_.fabric.up(progress)
    try:
        await asyncio.to_thread(create_database, place_)
        await asyncio.to_thread(place_.write_certificates)
        await start_guards(place_, place_.hosts())
        await start_agents(place_)
        await start_service(place_, placement, progress)
        place_.record(texts)
    except BaseException:
        await take_down(place_.name)
        raise


async def take_down(name: str) -> list[str]:
    """Remove everything of the lab, in whatever state it is; what there was, a line each."""
    check_lab_name(name)
    with exclusive(name), exclusive_move(name):
        found = leftovers(name, root=lab_root())
        await asyncio.to_thread(remove, name, root=lab_root())
        remaining = leftovers(name, root=lab_root())
    if remaining:
        raise LabError(f"lab {name} could not be removed whole: {'; '.join(remaining)}")
    return found


async def look(name: str, *, service: str | None = None) -> Observation:
    """What is of a service in the lab of that name now, by default of the one that there is. LabError if not up."""
    wired = wire(open_place(name, service=service), only_look=True)
    try:
        return await observe(wired)
    finally:
        await wired.close()
