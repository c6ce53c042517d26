"""What the tests of the lab's network share: a lab of the examples, and members that are namespaces, not machines."""

import asyncio
import errno
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
_IP_RECVERR = 11


def require_lab(*, root_for: str = "network namespaces") -> Path:
    """The lab root. Where the lab cannot run: a skip that names what is missing, under CI a failure."""
    reason = f"needs root for {root_for}" if os.geteuid() != 0 else ""
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


@asynccontextmanager
async def asking(space: Namespace) -> AsyncIterator[socket.socket]:
    """A UDP socket in a namespace."""
    with closing(await space.do(lambda _: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))) as question:
        question.setblocking(False)
        yield question


async def reply(question: socket.socket) -> str:
    async with asyncio.timeout(DEADLINE_S):
        return (await asyncio.get_running_loop().sock_recv(question, 100)).decode()


class FakeMember:
    """A namespace plugged into a segment at a host with a member's address and MAC; it answers UDP with its label."""

    def __init__(self, fabric: Fabric, host: HostId, member: MemberId, *, segment: SegmentId) -> None:
        self.label = f"{member}@{host}"
        self.interface = SERVICE.member(member).on(segment)
        self._segment = SERVICE.segment(segment)
        self._bridge = fabric.segment_bridge(segment)
        self._host = Namespace(fabric.netns_path(names.host(host)))
        self._space = Namespace(fabric.netns_path(f"fake-{member}-{host.replace('/', '-')}"))
        self._cable = f"f-{member}"
        self._stop, self._stopped = socket.socketpair()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        await self._space.create()
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
            kernel.up("lo")
            kernel.up("eth0", mac=self.interface.mac)
            # One question, unanswered for 300 ms (six times the inter-site link's way), is enough.
            kernel.sysctl("ipv4.neigh.eth0.mcast_solicit", 1)
            kernel.sysctl("ipv4.neigh.eth0.retrans_time_ms", 300)
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
        async with asking(self._space) as question:
            question.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)  # or a neighbour's silence would not be told
            question.connect((str(other.interface.address), PORT))
            question.send(b"who?")
            try:
                return await reply(question) == other.label
            except OSError as error:
                if error.errno != errno.EHOSTUNREACH:
                    raise
                return False

    async def close(self) -> None:
        """Leave no namespace, cable or thread."""
        await self.unplug()
        self._stop.close()
        if self._thread is not None:
            self._thread.join()
        self._stopped.close()
        self._host.close()
        self._space.close()
        remove_name(self._space.path)

    def _answer(self, listening: socket.socket) -> None:
        with listening:
            while self._stopped not in select.select([listening, self._stopped], [], [])[0]:
                _, sender = listening.recvfrom(100)
                listening.sendto(self.label.encode(), sender)


@asynccontextmanager
async def members(*wanted: FakeMember) -> AsyncIterator[None]:
    """The members answer inside, and are gone after."""
    try:
        for member in wanted:
            await member.start()
        yield
    finally:
        for member in wanted:
            await member.close()


class User:
    """Someone in a region who asks the service who it is."""

    def __init__(self, fabric: Fabric, region: RegionId) -> None:
        self._space = Namespace(fabric.netns_path(names.users(region)))

    async def answer(self) -> str:
        """Who answers at the service's address now."""
        async with asking(self._space) as question:
            question.sendto(b"who?", (str(SERVICE.address), PORT))
            return await reply(question)

    async def wait_answer(self, wanted: str) -> None:
        """Ask until the answer is `wanted`; TimeoutError if it never is."""
        async with asyncio.timeout(DEADLINE_S):
            while await self.answer() != wanted:
                pass

    def close(self) -> None:
        self._space.close()
