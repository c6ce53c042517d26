"""The lab's routers: what FRR's daemons are told, and starting them in their namespace and the package root."""

import asyncio
import os
from pathlib import Path

from entourage.drivers.frr import MED, SERVICE_LIST, route_map
from entourage.lab import names
from entourage.lab.errors import LabError
from entourage.lab.setup import FRR_ID
from entourage.lab.topology import ENTERPRISE_AS, PROVIDER_AS, Topology
from entourage.model.ids import SiteId


def edge_config(topology: Topology, site: SiteId) -> str:
    """bgpd's configuration at a site's edge: announces nothing but services' prefixes, and those only when told."""
    pop, edge = topology.uplink(site)
    maps = [f"route-map {route_map(a)} permit 10\n set metric {med}\nexit" for a, med in MED.items()]
    return "\n".join(
        [
            f"hostname {names.edge(site)}",
            *maps,
            "bgp route-map delay-timer 0",
            f"router bgp {ENTERPRISE_AS}",
            *_common(str(edge.ip)),
            *_neighbour(str(pop.ip), PROVIDER_AS),
            " address-family ipv4 unicast",
            f"  neighbor {pop.ip} prefix-list {SERVICE_LIST} out",
            " exit-address-family",
            "exit",
            "",
        ]
    )


def pop_config(topology: Topology, site: SiteId) -> str:
    """bgpd's configuration at a provider router: its regions announced, its edge heard, the other routers meshed."""
    _, edge = topology.uplink(site)
    others = [topology.pop_address(other.id) for other in topology.other_sites(site)]
    inside: list[str] = []
    for other in others:
        inside += [*_neighbour(str(other), PROVIDER_AS), f" neighbor {other} update-source lo"]
    return "\n".join(
        [
            f"hostname {names.pop(site)}",
            f"router bgp {PROVIDER_AS}",
            *_common(str(topology.pop_address(site))),
            *_neighbour(str(edge.ip), ENTERPRISE_AS),
            *inside,
            " address-family ipv4 unicast",
            *(f"  network {topology.region_network(region)}" for region in topology.regions_near(site)),
            f"  neighbor {edge.ip} prefix-list {SERVICE_LIST} in",
            *(f"  neighbor {other} next-hop-self" for other in others),
            " exit-address-family",
            "exit",
            "",
        ]
    )


def _common(router_id: str) -> list[str]:
    return [
        f" bgp router-id {router_id}",
        " no bgp ebgp-requires-policy",
        " no bgp network import-check",
        " coalesce-time 0",
        " timers bgp 3 9",
    ]


def _neighbour(address: str, remote_as: int) -> list[str]:
    return [
        f" neighbor {address} remote-as {remote_as}",
        f" neighbor {address} timers connect 1",
        f" neighbor {address} advertisement-interval 0",
    ]


async def start_router(*, root: Path, lab: str, node: str, config: str) -> None:
    """Start zebra and bgpd of one node; each returns when it has read its configuration. LabError if one fails."""
    folder = names.run_dir(root, lab) / node
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zebra.conf").write_text(f"hostname {node}\nzebra work-queue 0\n")
    (folder / "bgpd.conf").write_text(config)
    for path in (folder, *folder.iterdir()):
        os.chown(path, FRR_ID, FRR_ID)
    inside = f"/run/{lab}/{node}"
    for daemon in ("zebra", "bgpd"):
        await _start(root, names.namespace_path(lab, node), daemon, inside)


async def _start(root: Path, namespace: Path, daemon: str, inside: str) -> None:
    command = [
        "nsenter", f"--net={namespace}", "chroot", str(root), f"/usr/lib/frr/{daemon}", "-d", "-u", "frr", "-g", "frr",
        "-f", f"{inside}/{daemon}.conf", "-i", f"{inside}/{daemon}.pid", "-z", f"{inside}/zserv.api",
        "--vty_socket", inside, "-P", "0", "--log", f"file:{inside}/{daemon}.log",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    if process.returncode != 0:
        raise LabError(f"{daemon} did not start in {namespace.name}: {errors.decode().strip() or process.returncode}")
