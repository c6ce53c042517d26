"""The lab's network as a whole: brought up, looked at, taken down, and described for the drivers.

fabric = Fabric("demo", infrastructure, service)
await fabric.up()
await fabric.join()
ingress = FrrIngress(fabric.edge_routers(), near=fabric.regions_near())
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from entourage.drivers.frr import EdgeRouter, FrrIngress
from entourage.drivers.netns import Kernel, Namespace, prepare_run_dir
from entourage.drivers.vty import Vty
from entourage.drivers.vxlan import Endpoint
from entourage.lab import cabling, daemons, frr, joining, names
from entourage.lab.errors import LabError
from entourage.lab.hosted import Hosted, check_room
from entourage.lab.leftovers import exclusive, leftovers, namespaces, processes_in, remove, remove_spaces
from entourage.lab.setup import lab_root
from entourage.lab.topology import ENTERPRISE_AS, Topology
from entourage.model.ids import HostId, RegionId, SegmentId, SiteId
from entourage.model.world import Infrastructure, Interface, Member, Service
from entourage.ports.errors import DriverError

_ROUTES_WITHIN = 30.0  # seconds; usually two
_LOOK_AGAIN = 0.02  # seconds

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


@dataclass(frozen=True, slots=True, kw_only=True)
class LabStatus:
    """What of a lab's network is there. `missing` names the nodes without a namespace; none if it is whole.

    `sessions` has for each router its BGP neighbours' addresses and states ("Established"); a router that does not
    answer has none.
    """

    lab: str
    present: tuple[str, ...]
    missing: tuple[str, ...]
    processes: int
    sessions: Mapping[str, Mapping[str, str]]

    @property
    def is_up(self) -> bool:
        """True if every node is there and every BGP session stands."""
        states = [state for router in self.sessions.values() for state in router.values()]
        return not self.missing and all(self.sessions.values()) and all(s == "Established" for s in states)


class Fabric:
    """The network of the lab of that name. Any process may make one for a lab that is up: nothing is remembered.

    With a `service`, of that number in the lab, it is also what that has of the network.
    """

    def __init__(
        self,
        lab: str,
        infrastructure: Infrastructure,
        service: Service | None = None,
        *,
        number: int = 0,
        root: Path | None = None,
    ) -> None:
        self._topology = Topology(lab=lab, infrastructure=infrastructure)
        self._service = None if service is None else Hosted(service=service, number=number)
        self._lab = lab
        self._root = root or lab_root()
        self._hosts: dict[HostId, Namespace] = {}

    async def up(self, progress: Progress | None = None) -> None:
        """Bring the network up, without any service, until every edge has heard the regions' routes.

        LabError if anything of the lab is there already, or if it fails, and then all that was made is gone again.
        """
        self._topology.check()
        with exclusive(self._lab):
            if found := leftovers(self._lab, root=self._root):
                raise LabError(
                    f"lab {self._lab} is up or was left half-way ({len(found)} things, such as {found[0]}): "
                    "take it down first"
                )
            nodes = {node: Namespace(self.netns_path(node)) for node in self._topology.nodes()}
            try:
                await self._build(nodes, progress or _silent)
            except BaseException as error:
                _close(nodes)
                remove(self._lab, root=self._root)
                if isinstance(error, DriverError | OSError):
                    raise LabError(f"lab {self._lab} could not be brought up: {error}") from error
                raise
            _close(nodes)

    async def join(self) -> None:
        """Make what the service has of the network: segments, routing tables, entries in prefix lists.

        LabError if the service cannot be in a lab. What was made when it fails is there until `part`.
        """
        check_room(self._hosted.service, ())
        async with self._nodes() as nodes:
            await joining.join(nodes, self._topology, self._hosted)
        await self.admit()

    async def admit(self) -> None:
        """Let the routers carry the service's prefix; again, where one was started anew."""
        async with self._ingress() as ingress:
            await ingress.admit(self._hosted.service, sequence=self._hosted.sequence)

    async def part(self) -> None:
        """Take what the service has of the network away, whatever of it is there; nobody may be plugged in any more."""
        async with self._nodes() as nodes:
            await joining.part(nodes, self._topology, self._hosted)
        await asyncio.to_thread(remove_spaces, self.own_namespaces())
        async with self._ingress() as ingress:
            await ingress.expel(self._hosted.service, sequence=self._hosted.sequence)

    def own_namespaces(self) -> list[Path]:
        """The service's own, those of them that are there."""
        sites = self._topology.infrastructure.sites
        return [path for s in sites if (path := self.netns_path(self._hosted.vrf(s.id))).exists()]

    async def down(self) -> None:
        """Take everything of the lab away, whatever state it is in, guests included. May be asked for twice."""
        names.check_lab_name(self._lab)
        await self.close()
        with exclusive(self._lab):
            await asyncio.to_thread(remove, self._lab, root=self._root)

    async def close(self) -> None:
        """Let go of the handles that `add_tap` and `remove_tap` keep."""
        _close(self._hosts)
        self._hosts.clear()

    def leftovers(self) -> list[str]:
        """Every namespace, process and file of the lab, one line each; empty if nothing of it is there."""
        return leftovers(self._lab, root=self._root)

    async def status(self) -> LabStatus:
        """What is there, read from the kernel and the routers."""
        spaces = namespaces(self._lab)
        present = [path.name.removeprefix(names.namespace_prefix(self._lab)) for path in spaces]
        routers = [node for site in self._topology.infrastructure.sites for node in _routers(site.id)]
        sessions = await asyncio.gather(*(self._sessions(node) for node in routers))
        return LabStatus(
            lab=self._lab,
            present=tuple(present),
            missing=tuple(node for node in self._topology.nodes() if node not in present),
            processes=len(processes_in(spaces)),
            sessions=dict(zip(routers, sessions, strict=True)),
        )

    def netns_path(self, node: str) -> Path:
        """Where the namespace of a node (`entourage.lab.names` has their names) is to be opened."""
        return names.namespace_path(self._lab, node)

    def run_dir(self) -> Path:
        """The folder of the lab's sockets, configurations and logs."""
        return names.run_dir(self._root, self._lab)

    def underlay_address(self, host: HostId) -> IPv4Address:
        """The host's own address, to which migrations go; KeyError if there is no such host."""
        return self._topology.host_address(host)

    def user_address(self, region: RegionId) -> IPv4Address:
        """The address of a region's users."""
        return self._topology.region_network(region)[2]

    def edge_routers(self) -> Mapping[SiteId, EdgeRouter]:
        """What the ingress driver needs to know of each edge."""
        topology = self._topology
        return {
            site.id: EdgeRouter(
                namespace=self.netns_path(names.edge(site.id)),
                vty=self._vty(names.edge(site.id)),
                uplink=topology.uplink(site.id)[1].ip,
                delivery=self._hosted.cable_ends[1].ip,
                late=topology.late_address(site.id).ip,
                provider_vty=self._vty(names.pop(site.id)),
                provider=topology.pop_address(site.id),
                autonomous_system=ENTERPRISE_AS,
            )
            for site in topology.infrastructure.sites
        }

    def regions_near(self) -> Mapping[RegionId, SiteId]:
        """For each region the site near which its users reach the provider."""
        return {region.id: region.near for region in self._topology.infrastructure.regions}

    def segment_endpoints(self) -> tuple[Endpoint, ...]:
        """The hosts as the segments driver sees them."""
        return tuple(
            Endpoint(site=s.id, namespace=self.netns_path(names.host(h.id)), address=self.underlay_address(h.id))
            for s in self._topology.infrastructure.sites
            for h in s.hosts
        )

    def segment_devices(self) -> Mapping[SegmentId, str]:
        """The VXLAN device of each segment, the same at every host."""
        return {segment.id: self._hosted.vxlan(segment.id) for segment in self._hosted.service.segments}

    def segment_bridge(self, segment: SegmentId) -> str:
        """The bridge of a segment, the same at every host."""
        return self._hosted.bridge(segment)

    def delivery_device(self) -> str:
        """The device by which an edge delivers what is for the service, the same at every edge."""
        return self._hosted.cable

    async def add_tap(self, host: HostId, member: Member, interface: Interface, *, ifname: str) -> None:
        """Make a persistent TAP at a host for a member's interface, plugged into the interface's segment.

        NetworkError if there is a device of that name, or no such host.
        """
        bridge = self._hosted.bridge(interface.segment)

        def work(kernel: Kernel) -> None:
            kernel.add_tap(ifname, alias=f"{member.id} on {interface.segment}")
            kernel.attach(ifname, bridge=bridge)

        await self._host(host).do(work)

    async def remove_tap(self, host: HostId, *, ifname: str) -> None:
        """Remove a TAP; nothing if there is none of that name."""
        await self._host(host).do(lambda kernel: kernel.remove_device(ifname))

    async def relay_counters(self) -> dict[str, Any]:
        """The relay's counters by link name and direction, as `entourage.lab.relay` has them. LabError if dead."""
        answer = await self._ask_relay({"op": "stats"})
        counters: dict[str, Any] = answer["links"]
        return counters

    async def shape(self, link: str, *, rtt: float, rate: float, loss: float) -> None:
        """Change a relay link of a lab that is up: `rtt` in ms, `rate` in bit/s each way, `loss` 0..1 each way."""
        await self._ask_relay({"op": "set", "link": link, "rtt_ms": rtt, "rate_bps": rate, "loss": loss})

    async def cut(self, link: str) -> None:
        """Lose every packet on a relay link from now on, both ways. LabError if there is none of that name."""
        await self._ask_relay({"op": "set", "link": link, "loss": 1.0})

    async def heal(self, link: str) -> None:
        """Let a link lose what it loses by the spec again. LabError if there is none of that name."""
        loss = next((each.loss for each in self._topology.relay_links() if each.name == link), 0.0)
        await self._ask_relay({"op": "set", "link": link, "loss": loss})

    def links(self) -> tuple[str, ...]:
        """The names of the relay's links: those that can be cut."""
        return tuple(link.name for link in self._topology.relay_links())

    async def _build(self, nodes: Mapping[str, Namespace], progress: Progress) -> None:
        topology = self._topology
        await asyncio.to_thread(prepare_run_dir)
        self.run_dir().mkdir(parents=True, exist_ok=True)
        progress("network namespaces", 0, 5)
        await cabling.create_namespaces(nodes)
        progress("relay", 1, 5)
        relay = asyncio.create_task(asyncio.to_thread(self._start_relay))
        try:
            progress("sites", 2, 5)
            await cabling.join_sites(nodes, topology)
        finally:
            await asyncio.wait([relay])  # its thread must have ended before anything is taken away
        relay.result()
        await cabling.join_distant(nodes, topology)
        await cabling.join_agents(nodes, topology)
        progress("routers", 3, 5)
        await self._start_routers()
        progress("routes", 4, 5)
        await self._wait_for_routes(nodes)
        progress("network is up", 5, 5)

    async def _start_routers(self) -> None:
        configs = {}
        for site in self._topology.infrastructure.sites:
            configs[names.edge(site.id)] = frr.edge_config(self._topology, site.id)
            configs[names.pop(site.id)] = frr.pop_config(self._topology, site.id)
        starting = (
            frr.start_router(root=self._root, lab=self._lab, node=node, config=config)
            for node, config in configs.items()
        )
        # All have ended, well or not, before anything is taken away.
        for outcome in await asyncio.gather(*starting, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _wait_for_routes(self, nodes: Mapping[str, Namespace]) -> None:
        regions = [self._topology.region_network(r.id) for r in self._topology.infrastructure.regions]
        missing = [(names.edge(site.id), region) for site in self._topology.infrastructure.sites for region in regions]
        try:
            async with asyncio.timeout(_ROUTES_WITHIN):
                while missing:
                    node, region = missing[-1]
                    if await nodes[node].do(partial(Kernel.find_route, prefix=region)):
                        missing.pop()
                    else:
                        await asyncio.sleep(_LOOK_AGAIN)
        except TimeoutError:
            node, region = missing[-1]
            raise LabError(f"{node} has not heard of {region} by BGP within {_ROUTES_WITHIN:.0f} s") from None

    def _start_relay(self) -> None:
        """Start the relay as a process of its own, which outlives this one, and wait until its TAPs are there."""
        folder = self.run_dir() / names.RELAY
        folder.mkdir()
        config = folder / "relay.json"
        config.write_text(json.dumps(self._topology.relay_config(self._control())))
        daemons.start(
            "entourage.lab.relay",
            [str(config)],
            namespace=self.netns_path(names.RELAY),
            log=folder / "relay.log",
        )

    async def _ask_relay(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            reader, writer = await asyncio.open_unix_connection(self._control())
        except OSError as error:
            raise LabError(f"the relay of lab {self._lab} does not run: is the lab up?") from error
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            answer: dict[str, Any] = json.loads(await reader.readline() or b'{"error": "no answer"}')
        finally:
            writer.close()
            await writer.wait_closed()
        if "error" in answer:
            raise LabError(f"the relay refused {request['op']}: {answer['error']}")
        return answer

    async def _sessions(self, node: str) -> Mapping[str, str]:
        vty = self.router(node)
        try:
            summary = await vty.show_json("show bgp ipv4 unicast summary json")
        except DriverError:
            return {}
        finally:
            await vty.close()
        return {peer: str(about.get("state")) for peer, about in summary.get("peers", {}).items()}

    def router(self, node: str) -> Vty:
        """The command line of a router's bgpd."""
        return Vty(self._vty(node))

    @property
    def _hosted(self) -> Hosted:
        assert self._service is not None, "this is about a service, and the fabric was made without one"
        return self._service

    @asynccontextmanager
    async def _nodes(self) -> AsyncIterator[Mapping[str, Namespace]]:
        """Handles on the namespaces in which something of the service is."""
        nodes = {n: Namespace(self.netns_path(n)) for n in joining.nodes_of(self._topology, self._hosted)}
        try:
            yield nodes
        finally:
            _close(nodes)

    @asynccontextmanager
    async def _ingress(self) -> AsyncIterator[FrrIngress]:
        ingress = FrrIngress(self.edge_routers(), near=self.regions_near())
        try:
            yield ingress
        finally:
            await ingress.close()

    def _host(self, host: HostId) -> Namespace:
        if host not in self._hosts:
            self._hosts[host] = Namespace(self.netns_path(names.host(host)))
        return self._hosts[host]

    def _control(self) -> Path:
        return self.run_dir() / names.RELAY / "control.sock"

    def _vty(self, node: str) -> Path:
        return self.run_dir() / node / "bgpd.vty"


def _routers(site: SiteId) -> tuple[str, str]:
    return names.edge(site), names.pop(site)


def _close(handles: Mapping[Any, Namespace]) -> None:
    for namespace in handles.values():
        namespace.close()


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""
