"""Watching the users' packets at the edges: packet sockets in the edges' namespaces, with the kernel's time stamps."""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Mapping
from ctypes import addressof, create_string_buffer
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from entourage.drivers.netns import Namespace
from entourage.model.ids import SiteId
from entourage.model.world import Service
from entourage.ports.watch import EdgeTraffic

_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26
_SO_TIMESTAMPNS = 35
_PACKET_OUTGOING = 4
_LOOK_AGAIN_S = 0.05
_RECEIVE_BYTES = 4 << 20  # what may come between two looks


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgePoint:
    """Where to watch at one edge: the device towards the provider, and the one that leads to the service."""

    namespace: Path
    uplink: str
    delivery: str


@dataclass(slots=True)
class _Count:
    """One direction of one edge. Written by the edge's thread only."""

    count: int = 0
    first: float | None = None
    last: float | None = None


class EdgeWatch:
    """`entourage.ports.watch.TrafficWatch` for the lab's edges."""

    def __init__(self, points: Mapping[SiteId, EdgePoint]) -> None:
        self._points = points
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()
        self._arrived: dict[SiteId, _Count] = {}
        self._delivered: dict[SiteId, _Count] = {}

    async def start(self, service: Service) -> None:
        """Open a socket at every edge, and a thread that reads it."""
        await self.stop()
        self._ended = threading.Event()
        for site, point in self._points.items():
            namespace = Namespace(point.namespace)
            try:
                tap = await namespace.do(lambda _: _packet_socket(service.address))
            finally:
                namespace.close()
            self._arrived[site], self._delivered[site] = _Count(), _Count()
            watched = (tap, site, point, self._ended)
            thread = threading.Thread(target=self._watch, args=watched, name=f"watch-{site}", daemon=True)
            self._sockets.append(tap)
            self._threads.append(thread)
            thread.start()

    async def seen(self, site: SiteId) -> EdgeTraffic:
        """What the edge has delivered to the service there."""
        return _traffic(self._delivered.get(site, _Count()))

    async def arrived(self, site: SiteId) -> EdgeTraffic:
        """What came to the edge from the provider."""
        return _traffic(self._arrived.get(site, _Count()))

    async def wait_quiet(self, site: SiteId, *, quiet_s: float, deadline_s: float) -> bool:
        """Until nothing came from the provider for `quiet_s`."""
        start = time.time()
        while time.time() - start < deadline_s:
            last = self._arrived.get(site, _Count()).last or 0.0
            if time.time() - max(last, start) >= quiet_s:
                return True
            await asyncio.sleep(_LOOK_AGAIN_S)
        return False

    async def stop(self) -> None:
        """Close the sockets; what was counted can still be asked for."""
        self._ended.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        for tap in self._sockets:
            tap.close()
        self._sockets.clear()
        self._threads.clear()

    def _watch(self, tap: socket.socket, site: SiteId, point: EdgePoint, ended: threading.Event) -> None:
        # Now and then rather than packet by packet: the kernel has stamped them, and in a switch every thread of ours
        # that wakes up takes its time from those that carry streams.
        while not ended.wait(_LOOK_AGAIN_S):
            self._read(tap, site, point)
        self._read(tap, site, point)

    def _read(self, tap: socket.socket, site: SiteId, point: EdgePoint) -> None:
        while True:
            try:
                _, ancillary, _, (device, _, kind, *_) = tap.recvmsg(1, 64)
            except OSError:  # BlockingIOError: that was all
                return
            if device == point.delivery and kind == _PACKET_OUTGOING:
                count = self._delivered[site]
            elif device == point.uplink and kind != _PACKET_OUTGOING:
                count = self._arrived[site]
            else:
                continue
            at = _stamp(ancillary)
            count.count += 1
            count.first = count.first or at
            count.last = at


def _packet_socket(address: IPv4Address) -> socket.socket:
    """A packet socket for IPv4 packets to `address`, on all devices of the calling thread's namespace."""
    # Outgoing packets are shown to sockets for all protocols only; the filter keeps all but ours in the kernel.
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
    wanted = int(address)
    program = [
        (0x28, 0, 0, 0xFFFFF000),  # load the protocol (SKF_AD_PROTOCOL)
        (0x15, 0, 3, 0x0800),  # IPv4?
        (0x20, 0, 0, 16),  # load the destination address
        (0x15, 0, 1, wanted),
        (0x06, 0, 0, 1),  # accept, one byte is enough
        (0x06, 0, 0, 0),  # drop
    ]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = create_string_buffer(code, len(code))
    tap.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program), addressof(buffer)))
    tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    tap.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            tap.recv(1)  # what came before the filter was there
    tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
    return tap


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            return float(seconds) + float(nanoseconds) / 1e9
    return time.time()


def _traffic(count: _Count) -> EdgeTraffic:
    return EdgeTraffic(count=count.count, first=count.first, last=count.last)
