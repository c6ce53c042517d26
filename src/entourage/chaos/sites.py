"""A whole site that dies at once, as by a power cut, and is there again later; and relay links that are cut."""

import asyncio

from entourage.drivers.netns import Kernel, Namespace
from entourage.lab import frr, names
from entourage.lab.agents import start_agent
from entourage.lab.errors import LabError
from entourage.lab.guards import start_guards
from entourage.lab.leftovers import end_processes, processes_in
from entourage.lab.place import Lab
from entourage.lab.setup import lab_root
from entourage.lab.topology import Topology
from entourage.model.ids import SiteId
from entourage.quorum.types import agent_of

_TO_EDGE = "edge"  # a provider router's cable to its edge


async def kill_site(lab: Lab, site: SiteId) -> int:
    """Kill every process of the site's hosts and edge, and cut its links. How many processes there were.

    Killed are its QEMUs, guards, agent, warden and FRR, and they are gone when this returns. Their files stay. LabError
    if there is no such site, or a process does not die.
    """
    spaces = [lab.fabric.netns_path(node) for node in _nodes(lab, site)]
    killed = await asyncio.to_thread(end_processes, spaces)
    for link in _links(lab, site):
        await lab.fabric.cut(link)
    await _at_pop(lab, site, up=False)
    return killed


async def revive_site(lab: Lab, site: SiteId) -> None:
    """Power is there again: links, edge, guards and agent. Members are not started. May be asked for twice.

    LabError if there is no such site, or something of it does not start.
    """
    edge, *_ = _nodes(lab, site)
    await _at_pop(lab, site, up=True)
    for link in _links(lab, site):
        await lab.fabric.heal(link)
    if processes_in([lab.fabric.netns_path(edge)]):
        return  # it was not dead
    topology = Topology(lab=lab.name, infrastructure=lab.infrastructure)
    await frr.start_router(root=lab_root(), lab=lab.name, node=names.edge(site), config=frr.edge_config(topology, site))
    for kept in lab.services:
        await lab.place(kept.id).fabric.admit()
    await start_guards(lab, [host.id for host in lab.infrastructure.site(site).hosts])
    await asyncio.to_thread(start_agent, lab, agent_of(site))


async def cut_link(lab: Lab, link: str) -> None:
    """Lose every packet on a relay link, both ways. LabError if there is no link of that name."""
    _check_link(lab, link)
    await lab.fabric.cut(link)


async def heal_link(lab: Lab, link: str) -> None:
    """Let a relay link carry packets again. LabError if there is no link of that name."""
    _check_link(lab, link)
    await lab.fabric.heal(link)


def _check_link(lab: Lab, link: str) -> None:
    links = lab.fabric.links()
    if link not in links:
        raise LabError(f"no link {link!r} in lab {lab.name}; there are {', '.join(links)}")


def _nodes(lab: Lab, site: SiteId) -> tuple[str, ...]:
    for each in lab.infrastructure.sites:
        if each.id == site:
            return (names.edge(site), *(names.host(host.id) for host in each.hosts))
    known = ", ".join(each.id for each in lab.infrastructure.sites)
    raise LabError(f"no site {site!r} in lab {lab.name}; there are {known}")


def _links(lab: Lab, site: SiteId) -> list[str]:
    return [names.inter_site(*link.sites) for link in lab.infrastructure.links if site in link.sites]


async def _at_pop(lab: Lab, site: SiteId, *, up: bool) -> None:
    """The provider's end of the cable to the edge: the edge keeps its routes."""
    namespace = Namespace(lab.fabric.netns_path(names.pop(site)))

    def work(kernel: Kernel) -> None:
        if up:
            kernel.up(_TO_EDGE)
        else:
            kernel.down(_TO_EDGE)

    try:
        await namespace.do(work)
    finally:
        namespace.close()
