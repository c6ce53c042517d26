"""The lab's agents, one in each site's edge and one at the witness; see `entourage.drivers.quorum`.

Sites reach each other by two roads, the inter-site link and the provider, and the witness by the provider: one cut link
costs nobody a heartbeat. Their key is made with the lab and goes with it.
"""

import asyncio
import os
import secrets
from pathlib import Path

from entourage.drivers.quorum.client import AgentClient
from entourage.drivers.quorum.config import AgentConfig, HostFiles, Road, SiteFiles
from entourage.lab import daemons, names, witness
from entourage.lab.errors import LabError
from entourage.lab.place import Lab
from entourage.lab.topology import ENTERPRISE_AS, Topology
from entourage.model.ids import SiteId
from entourage.quorum import WITNESS, AgentId, Terms
from entourage.quorum.types import agent_of

PORT = 4790  # UDP
_RIGHT_WITHIN_S = 30.0
_LOOK_AGAIN_S = 0.05
BY_LINK, BY_PROVIDER = "inter-site", "provider"
_ANYWHERE = "0.0.0.0"  # noqa: S104 - all addresses of the witness's namespace


def agents(lab: Lab) -> tuple[AgentId, ...]:
    """Every agent of the lab."""
    return (*(agent_of(site.id) for site in lab.infrastructure.sites), WITNESS)


def node_of(agent: AgentId) -> str:
    """The node in which an agent runs."""
    return witness.NODE if agent == WITNESS else names.edge(SiteId(agent))


def directory_of(lab: Lab, agent: AgentId) -> Path:
    """The agent's files."""
    return lab.run_dir / f"agent-{'witness' if agent == WITNESS else agent}"


def client(lab: Lab, agent: AgentId) -> AgentClient:
    """To ask that agent."""
    return AgentClient(directory_of(lab, agent))


async def start_agents(lab: Lab, *, terms: Terms | None = None) -> None:
    """Start all agents; returns when each site has its right and its warden. LabError if one does not get there.

    So nothing is started before the warden, which would pause it: nobody has told it yet that members may run.
    """
    key = lab.run_dir / "quorum.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(32))
    starting = [
        asyncio.create_task(asyncio.to_thread(_start_anew, lab, agent, key, terms or Terms())) for agent in agents(lab)
    ]
    try:
        await asyncio.gather(*starting)
    finally:
        await asyncio.wait(starting)  # the threads must have ended before anything is taken away
    waiting = [site.id for site in lab.infrastructure.sites]
    try:
        async with asyncio.timeout(_RIGHT_WITHIN_S):
            while waiting:
                told = await client(lab, agent_of(waiting[-1])).status()
                if told["right"] and told["warden"]:
                    waiting.pop()
                else:
                    await asyncio.sleep(_LOOK_AGAIN_S)
    except TimeoutError as error:
        raise LabError(f"{waiting[-1]} has no right to run anything after {_RIGHT_WITHIN_S:.0f} s") from error


def start_agent(lab: Lab, agent: AgentId) -> None:
    """Start an agent again that has ended, with what it has kept. LabError if it does not start."""
    directory = directory_of(lab, agent)
    daemons.start(
        "entourage.drivers.quorum.agent",
        [str(directory / "config.json")],
        namespace=lab.fabric.netns_path(node_of(agent)),
        log=directory / "agent.stderr",
    )


def _start_anew(lab: Lab, agent: AgentId, key: Path, terms: Terms) -> None:
    topology = Topology(lab=lab.name, infrastructure=lab.infrastructure)
    directory = directory_of(lab, agent)
    directory.mkdir(mode=0o700)
    config = AgentConfig(
        me=agent,
        sites=tuple(site.id for site in lab.infrastructure.sites),
        terms=terms,
        key=key,
        directory=directory,
        port=PORT,
        roads=_witness_roads(topology) if agent == WITNESS else _site_roads(topology, SiteId(agent)),
        site=None if agent == WITNESS else _site_files(lab, SiteId(agent)),
    )
    config.write(directory / "config.json")
    os.chmod(directory / "config.json", 0o600)
    start_agent(lab, agent)


def _site_roads(topology: Topology, site: SiteId) -> tuple[Road, ...]:
    others = [other.id for other in topology.other_sites(site)]
    by_link = {agent_of(other): str(topology.edge_address(other)) for other in others}
    by_provider = {agent_of(other): str(topology.uplink(other)[1].ip) for other in others}
    by_provider[WITNESS] = str(witness.witness_end(topology.site_number(site)).ip)
    return (
        Road(name=BY_LINK, local=str(topology.edge_address(site)), peers=by_link),
        Road(name=BY_PROVIDER, local=str(topology.uplink(site)[1].ip), peers=by_provider),
    )


def _witness_roads(topology: Topology) -> tuple[Road, ...]:
    sites = topology.infrastructure.sites
    peers = {agent_of(site.id): str(topology.uplink(site.id)[1].ip) for site in sites}
    return (Road(name=BY_PROVIDER, local=_ANYWHERE, peers=peers),)


def _site_files(lab: Lab, site: SiteId) -> SiteFiles:
    hosts = []
    for host in lab.infrastructure.site(site).hosts:
        directory = lab.run_dir / names.host(host.id)
        hosts.append(HostFiles(directory=directory, netns=lab.fabric.netns_path(names.host(host.id))))
    vty = lab.run_dir / names.edge(site) / "bgpd.vty"
    return SiteFiles(hosts=tuple(hosts), services=lab.services_dir, vty=vty, autonomous_system=ENTERPRISE_AS)
