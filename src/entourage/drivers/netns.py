"""Network namespaces and what is in them: the one place that talks to the kernel's rtnetlink.

A `Namespace` keeps one thread that lives in the namespace, with an open netlink socket, so that a change costs
one message (0.3 ms) and no process. All typed here, because pyroute2 is not.
"""

import asyncio
import ctypes
import errno
import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fcntl import LOCK_EX, flock, ioctl
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from entourage.ports.errors import PermanentError

RUN_DIR = Path("/run/netns")
FLOOD_MAC = "00:00:00:00:00:00"

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SHARED = 1 << 20
_MNT_DETACH = 2
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_TAP_FLAGS = 0x0002 | 0x1000 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
_NUD_PERMANENT = 0x80
_NTF_SELF = 0x02
_NTF_MASTER = 0x04
_AF_BRIDGE = 7

_libc = ctypes.CDLL(None, use_errno=True)
_T = TypeVar("_T")


class NetworkError(PermanentError):
    """The kernel refused a change of the network; `code` is its errno."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route as the kernel has it: by `gateway` (None: directly) out of `device`."""

    gateway: IPv4Address | None
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """An entry of a VXLAN device's forwarding table: frames for `mac` go to the endpoint `peer`."""

    mac: str
    peer: IPv4Address


class Kernel:
    """Changes to one namespace. Only for use in that namespace's thread: see `Namespace.do`."""

    def __init__(self, route: IPRoute) -> None:
        self._route = route

    def index(self, device: str) -> int:
        """The index of a device; NetworkError (ENODEV) if there is none of that name."""
        found: list[int] = self._route.link_lookup(ifname=device)
        if not found:
            raise NetworkError(f"no device {device!r}", code=errno.ENODEV)
        return found[0]

    def devices(self) -> list[str]:
        """The names of all devices, `lo` included."""
        return [link.get_attr("IFLA_IFNAME") for link in self._route.get_links()]

    def sysctl(self, key: str, value: int) -> None:
        """Set `net.<key>`, dots or slashes; a key that this kernel lacks is left out."""
        path = Path("/proc/sys/net", *key.split("."))
        if path.exists():
            path.write_text(str(value))

    def add_bridge(self, device: str, *, mtu: int, mac: str | None = None) -> None:
        """A learning bridge without spanning tree or multicast snooping, up."""
        extra = {"address": mac} if mac else {}
        self._route.link(
            "add", ifname=device, kind="bridge", br_stp_state=0, br_forward_delay=0, br_mcast_snooping=0, **extra
        )
        self._route.link("set", index=self.index(device), mtu=mtu, state="up")

    def add_veth(self, device: str, *, peer: str, peer_namespace: Path, mtu: int) -> None:
        """A virtual cable from `device` here (up) to `peer` in another namespace (down)."""
        handle = os.open(peer_namespace, os.O_RDONLY)
        try:
            self._route.link(
                "add", ifname=device, kind="veth", mtu=mtu, peer={"ifname": peer, "net_ns_fd": handle, "mtu": mtu}
            )
        finally:
            os.close(handle)
        self.up(device)

    def add_vxlan(self, device: str, *, vni: int, local: IPv4Address, learning: bool, mtu: int) -> None:
        """A VXLAN endpoint (RFC 7348, UDP port 4789) at the underlay address `local`, without peers, up."""
        self._route.link(
            "add",
            ifname=device,
            kind="vxlan",
            vxlan_id=vni,
            vxlan_local=str(local),
            vxlan_port=4789,
            vxlan_learning=int(learning),
            vxlan_ttl=64,
        )
        self._route.link("set", index=self.index(device), mtu=mtu, state="up")

    def add_tap(self, device: str, *, alias: str) -> None:
        """A TAP that stays when nobody has it open, single queue, 1000 frames long, up; `alias` is for people."""
        if device in self.devices():  # TUNSETIFF would take the one that is there
            raise NetworkError(f"there is a device {device!r} already", code=errno.EEXIST)
        handle = os.open("/dev/net/tun", os.O_RDWR)
        try:
            ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _TAP_FLAGS))
            ioctl(handle, _TUNSETPERSIST, 1)
        except OSError as error:
            raise NetworkError(
                f"cannot create the TAP {device}: {error.strerror}", code=error.errno or errno.EIO
            ) from error
        finally:
            os.close(handle)
        self._route.link("set", index=self.index(device), txqlen=1000, ifalias=alias, state="up")

    def remove_device(self, device: str) -> None:
        """Remove a device; nothing if there is none."""
        for index in self._route.link_lookup(ifname=device):
            self._route.link("del", index=index)

    def move(self, device: str, *, namespace: Path) -> None:
        """Put a device into another namespace, where it is down. A VXLAN endpoint's packets stay in the first one."""
        handle = os.open(namespace, os.O_RDONLY)
        try:
            self._route.link("set", index=self.index(device), net_ns_fd=handle)
        finally:
            os.close(handle)

    def up(self, device: str, *, mtu: int | None = None, mac: str | None = None) -> None:
        """Bring a device up, with another MTU or MAC if given."""
        extra: dict[str, Any] = {"mtu": mtu} if mtu else {}
        if mac:
            extra["address"] = mac
        self._route.link("set", index=self.index(device), state="up", **extra)

    def down(self, device: str) -> None:
        """Take a device down; its routes go, and those of its peer stay."""
        self._route.link("set", index=self.index(device), state="down")

    def attach(self, device: str, *, bridge: str) -> None:
        """Make a device a port of a bridge."""
        self._route.link("set", index=self.index(device), master=self.index(bridge))

    def address(self, device: str, address: IPv4Interface) -> None:
        """Give a device an address; nothing if it has it."""
        self._route.addr(
            "replace", index=self.index(device), address=str(address.ip), prefixlen=address.network.prefixlen
        )

    def neighbour(self, address: IPv4Address, *, mac: str, device: str) -> None:
        """Fix the MAC of a neighbour, so that no packet waits for ARP."""
        self._route.neigh("replace", dst=str(address), lladdr=mac, ifindex=self.index(device), state=_NUD_PERMANENT)

    def route(self, prefix: IPv4Network, *, gateway: IPv4Address) -> None:
        """Route a prefix by a gateway, in one message: in place of the route that is there, if one is."""
        self._route.route("replace", dst=str(prefix), gateway=str(gateway))

    def unroute(self, prefix: IPv4Network) -> None:
        """Remove the route for exactly this prefix; nothing if there is none."""
        try:
            self._route.route("del", dst=str(prefix))
        except NetlinkError as error:
            if error.code != errno.ESRCH:
                raise

    def find_route(self, prefix: IPv4Network) -> Route | None:
        """The main table's route for exactly this prefix."""
        for message in self._route.get_routes(family=2, table=254, dst_len=prefix.prefixlen):
            destination = message.get_attr("RTA_DST") or "0.0.0.0"  # noqa: S104
            if message["dst_len"] == prefix.prefixlen and destination == str(prefix.network_address):
                gateway = message.get_attr("RTA_GATEWAY")
                device = self._route.get_links(message.get_attr("RTA_OIF"))[0].get_attr("IFLA_IFNAME")
                return Route(gateway=IPv4Address(gateway) if gateway else None, device=device)
        return None

    def forwarding(self, device: str) -> list[Forwarding]:
        """The VXLAN device's own forwarding table: flood entries (all-zero MAC), fixed and learned ones."""
        entries = []
        for message in self._route.fdb("dump", ifindex=self.index(device)):
            mac, peer = message.get_attr("NDA_LLADDR"), message.get_attr("NDA_DST")
            if mac and peer and message["ifindex"] == self.index(device):
                entries.append(Forwarding(mac=mac, peer=IPv4Address(peer)))
        return entries

    def flood(self, device: str, *, peer: IPv4Address) -> None:
        """Send broadcast and unknown frames of a VXLAN device to `peer` too; nothing if it does."""
        if Forwarding(mac=FLOOD_MAC, peer=peer) not in self.forwarding(device):
            self._route.fdb("append", ifindex=self.index(device), lladdr=FLOOD_MAC, dst=str(peer), flags=_NTF_SELF)

    def forward(self, device: str, *, mac: str, peer: IPv4Address) -> None:
        """Send frames for `mac` to `peer` only."""
        self._route.fdb("replace", ifindex=self.index(device), lladdr=mac, dst=str(peer), flags=_NTF_SELF)

    def forget(self, device: str, entry: Forwarding) -> None:
        """Remove an entry of a VXLAN device, and what the bridge above learned of its MAC; nothing if gone."""
        index = self.index(device)
        self._ignoring_absent("del", ifindex=index, lladdr=entry.mac, dst=str(entry.peer), flags=_NTF_SELF)
        if entry.mac != FLOOD_MAC:
            self._ignoring_absent("del", ifindex=index, lladdr=entry.mac, flags=_NTF_MASTER)

    def _ignoring_absent(self, command: str, **arguments: Any) -> None:  # noqa: ANN401 - pyroute2's own
        try:
            self._route.fdb(command, **arguments)
        except NetlinkError as error:
            if error.code != errno.ENOENT:
                raise


class Namespace:
    """A handle on a named network namespace: a thread in it and a netlink socket. Close it when done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=path.name)
        self._kernel: Kernel | None = None
        self._socket: IPRoute | None = None

    async def do(self, work: Callable[[Kernel], _T]) -> _T:
        """Run `work` in the namespace's thread. NetworkError if the kernel refuses, or there is no namespace."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    async def create(self) -> None:
        """Make the namespace and its name under /run/netns; NetworkError if the name is taken."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._create)

    def close(self) -> None:
        """Let go of the namespace (it lives on by its name)."""
        if self._socket is not None:
            self._thread.submit(self._socket.close).result()
        self._thread.shutdown()

    def _run(self, work: Callable[[Kernel], _T]) -> _T:
        try:
            return work(self._kernel or self._enter())
        except NetlinkError as error:
            raise NetworkError(f"in {self.path.name}: {error}", code=error.code) from error
        except NetworkError as error:
            raise NetworkError(f"in {self.path.name}: {error}", code=error.code) from error

    def _enter(self) -> Kernel:
        try:
            handle = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            raise NetworkError("there is no such network namespace: is the lab up?", code=errno.ENOENT) from None
        try:
            _check(_libc.setns(handle, _CLONE_NEWNET), f"enter {self.path}")
        finally:
            os.close(handle)
        return self._open()

    def _open(self) -> Kernel:
        self._socket = IPRoute()
        self._kernel = Kernel(self._socket)
        return self._kernel

    def _create(self) -> None:
        try:
            self.path.touch(exist_ok=False)
        except FileExistsError:
            raise NetworkError(f"the namespace {self.path.name} exists already", code=errno.EEXIST) from None
        _check(_libc.unshare(_CLONE_NEWNET), "make a network namespace")
        _mount(b"/proc/thread-self/ns/net", self.path, flags=_MS_BIND)
        self._open()


def prepare_run_dir() -> None:
    """Make /run/netns a shared mount as `ip netns` does, so that a removal is seen from every mount namespace."""
    RUN_DIR.mkdir(mode=0o755, exist_ok=True)
    handle = os.open(RUN_DIR, os.O_RDONLY)
    try:
        flock(handle, LOCK_EX)  # the same lock as `ip netns` takes: a second bind would hide the names in the first
        if not _is_mounted(RUN_DIR):
            _mount(bytes(RUN_DIR), RUN_DIR, flags=_MS_BIND | _MS_REC)
            _mount(b"", RUN_DIR, flags=_MS_SHARED | _MS_REC)
    finally:
        os.close(handle)


def _is_mounted(path: Path) -> bool:
    """Whether something is mounted there. os.path.ismount does not see a directory that is bound to itself."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split(" ", 5)[4] == str(path) for line in lines)


def remove_name(path: Path) -> None:
    """Take a namespace's name away; the namespace ends when nothing is left in it. Nothing if there is none."""
    _libc.umount2(bytes(path), _MNT_DETACH)  # fails on a name that was never bound: the unlink is what counts
    path.unlink(missing_ok=True)


def _mount(source: bytes, target: Path, *, flags: int) -> None:
    _check(_libc.mount(source, bytes(target), b"none", flags, None), f"mount on {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise NetworkError(f"cannot {what}: {os.strerror(code)}", code=code)
