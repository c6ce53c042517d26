"""What the tests of the lab's network share: a lab of the examples, and members that are namespaces, not machines."""

import asyncio
import os
import select
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from entourage.drivers.frr import FrrIngress
from entourage.drivers.netns import Kernel, Namespace, remove_name
from entourage.drivers.vxlan import VxlanSegments
from entourage.lab import names
from entourage.lab.fabric import Fabric
from entourage.lab.setup import SetupMissingError, lab_root
from entourage.model.ids import HostId, MemberId, RegionId, SegmentId
from entourage.spec import load_infrastructure, load_service

EXAMPLES = Path(__file__).parents[2] / "examples"
INFRASTRUCTURE = load_infrastructure(EXAMPLES / "sites.yaml")
SERVICE = load_service(EXAMPLES / "shop.yaml", infrastructure=INFRASTRUCTURE)
DEADLINE_S = 20.0
PORT = 4000


def require_lab() -> Path:
    """The lab root. Where the lab cannot run: a skip that names what is missing, under CI a failure."""
    reason = "needs root for network namespaces" if os.geteuid() != 0 else ""
    if not reason:
        try:
            return lab_root()
        except SetupMissingError as error:
            reason = str(error)
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def lab_name(suffix: str) -> str:
    """A name that no other run of the tests uses."""
    return f"t{os.getpid() % 1_000_000}{suffix}"


@asynccontextmanager
async def ingress_of(fabric: Fabric) -> AsyncIterator[FrrIngress]:
    driver = FrrIngress(fabric.edge_routers(), near=fabric.regions_near())
    try:
        yield driver
    finally:
        await driver.close()


@asynccontextmanager
async def segments_of(fabric: Fabric) -> AsyncIterator[VxlanSegments]:
    driver = VxlanSegments(fabric.segment_endpoints(), devices=fabric.segment_devices())
    try:
        yield driver
    finally:
        await driver.close()


class FakeMember:
    """A namespace plugged into a segment at a host with a member's address and MAC; it answers UDP with its label."""

    def __init__(self, fabric: Fabric, host: HostId, member: MemberId, *, segment: SegmentId) -> None:
        self.label = f"{member}@{host}"
        self.interface = SERVICE.member(member).on(segment)
        self._segment = SERVICE.segment(segment)
        self._bridge = names.bridge(names.vni(SERVICE, segment))
        self._host = Namespace(fabric.netns_path(names.host(host)))
        self._space = Namespace(fabric.netns_path(f"fake-{member}-{host.replace('/', '-')}"))
        self._cable = f"f-{member}"
        self._stop, self._stopped = socket.socketpair()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        await self._space.create()
        await self._space.do(_quick_arp)
        await self.plug()
        listening = await self._space.do(lambda _: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        served = self.interface.address if self._segment.gateway is None else SERVICE.address
        listening.bind((str(served), PORT))
        self._thread = threading.Thread(target=self._answer, args=(listening,))
        self._thread.start()

    async def plug(self) -> None:
        def at_host(kernel: Kernel) -> None:
            kernel.add_veth(self._cable, peer="eth0", peer_namespace=self._space.path, mtu=1500)
            kernel.attach(self._cable, bridge=self._bridge)

        def inside(kernel: Kernel) -> None:
            kernel.up("lo")  # by which the kernel reports that a neighbour does not answer
            kernel.up("eth0", mac=self.interface.mac)
            kernel.address("eth0", IPv4Interface((self.interface.address, self._segment.subnet.prefixlen)))
            if self._segment.gateway is not None:
                kernel.address("lo", IPv4Interface(SERVICE.address))
                kernel.route(IPv4Interface("0.0.0.0/0").network, gateway=self._segment.gateway)

        await self._host.do(at_host)
        await self._space.do(inside)

    async def unplug(self) -> None:
        """Pull the cable: what the member knew of its neighbours is gone too."""
        await self._host.do(lambda kernel: kernel.remove_device(self._cable))

    async def reaches(self, other: "FakeMember") -> bool:
        """True if `other` answers; False if nobody answers to ARP for its address."""
        with closing(await self._space.do(lambda _: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))) as asking:
            asking.settimeout(DEADLINE_S)
            asking.connect((str(other.interface.address), PORT))
            asking.send(b"who?")
            try:
                return await asyncio.to_thread(asking.recv, 100) == other.label.encode()
            except OSError as error:
                if isinstance(error, TimeoutError):
                    raise
                return False

    def close(self) -> None:
        """Leave no namespace, cable or thread."""
        self._stop.close()
        if self._thread is not None:
            self._thread.join()
        self._stopped.close()
        self._host.close()
        self._space.close()
        remove_name(self._space.path)  # its end of the cable ends with it, and so does the other

    def _answer(self, listening: socket.socket) -> None:
        with listening:
            while self._stopped not in select.select([listening, self._stopped], [], [])[0]:
                _, sender = listening.recvfrom(100)
                listening.sendto(self.label.encode(), sender)


def _quick_arp(kernel: Kernel) -> None:
    """Give up on a neighbour after one question, unanswered for 300 ms (six times the inter-site link's way)."""
    kernel.sysctl("ipv4.neigh.default.mcast_solicit", 1)
    kernel.sysctl("ipv4.neigh.default.retrans_time_ms", 300)


@asynccontextmanager
async def members(*wanted: FakeMember) -> AsyncIterator[None]:
    """The members answer inside, and are gone after."""
    try:
        for member in wanted:
            await member.start()
        yield
    finally:
        for member in wanted:
            member.close()


class User:
    """Someone in a region who asks the service who it is."""

    def __init__(self, fabric: Fabric, region: RegionId) -> None:
        self._space = Namespace(fabric.netns_path(names.users(region)))

    async def answer(self) -> str:
        """Who answers at the service's address now."""
        with closing(await self._space.do(lambda _: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))) as asking:
            asking.settimeout(DEADLINE_S)
            asking.sendto(b"who?", (str(SERVICE.address), PORT))
            return (await asyncio.to_thread(asking.recv, 100)).decode()

    async def wait_answer(self, wanted: str) -> None:
        """Ask until the answer is `wanted`; TimeoutError if it never is."""
        async with asyncio.timeout(DEADLINE_S):
            while await self.answer() != wanted:
                pass

    def close(self) -> None:
        self._space.close()
