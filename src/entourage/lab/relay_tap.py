"""The kernel's side of the relay: network namespaces, TAP devices and a precise timer (Linux, by its ABI)."""

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

FRAME_BYTES_MAX = 68 * 1024  # a superframe of 64 KiB and its headers
TX_QUEUE_FRAMES = 10_000  # a burst waits there until it is read: the relay is to be the only bottleneck

# linux/if_tun.h, linux/sockios.h, linux/sched.h
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_TUN_EXCL = 0x0002, 0x1000, 0x4000, 0x8000
_TUN_F_CSUM, _TUN_F_TSO4, _TUN_F_TSO6 = 0x01, 0x02, 0x04
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFMTU, _SIOCSIFTXQLEN = 0x8913, 0x8914, 0x8922, 0x8943
_IFF_UP = 0x1
_CLONE_NEWNET = 0x40000000
_TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_TIMER_ABSTIME = 0o4000, 0o2000000, 1
_CLOCK_MONOTONIC = 1
_IFREQ = struct.Struct("16sH22x")
_IFREQ_INT = struct.Struct("16si20x")

_libc = ctypes.CDLL(None, use_errno=True)


class RelayError(Exception):
    """The relay cannot do what it was asked; the message is for the user: what, where, and what to do."""


@contextmanager
def in_netns(path: str) -> Iterator[None]:
    """Run the body in the network namespace at `path`, then go back. Sockets opened inside stay there.

    Raises OSError if it is not a namespace or may not be entered.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def open_tap(*, netns: str, ifname: str, mtu: int) -> int:
    """Make the TAP device in the namespace at `netns`, set it up, and return its non-blocking file descriptor.

    Frames have a virtio-net header and may be superframes. The device goes when the descriptor is closed.
    Raises RelayError.
    """
    doing = f"enter the network namespace {netns}"
    tap = -1
    try:
        with in_netns(netns):
            doing = "open /dev/net/tun"
            tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            doing = f"make the TAP device {ifname} in {netns} (is the name taken there?)"
            flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL
            fcntl.ioctl(tap, _TUNSETIFF, _IFREQ.pack(ifname.encode(), flags))
            fcntl.ioctl(tap, _TUNSETOFFLOAD, _TUN_F_CSUM | _TUN_F_TSO4 | _TUN_F_TSO6)
            doing = f"set up {ifname} in {netns} with MTU {mtu}"
            _set_up(ifname.encode(), mtu)
    except OSError as error:
        if tap >= 0:
            os.close(tap)
        raise RelayError(f"cannot {doing}: {error.strerror}") from error
    return tap


def _set_up(ifname: bytes, mtu: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFMTU, _IFREQ_INT.pack(ifname, mtu))
        fcntl.ioctl(control, _SIOCSIFTXQLEN, _IFREQ_INT.pack(ifname, TX_QUEUE_FRAMES))
        _, flags = _IFREQ.unpack(fcntl.ioctl(control, _SIOCGIFFLAGS, _IFREQ.pack(ifname, 0)))
        fcntl.ioctl(control, _SIOCSIFFLAGS, _IFREQ.pack(ifname, flags | _IFF_UP))


def _setns(namespace: int) -> None:
    _checked(_libc.setns(namespace, _CLONE_NEWNET))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long), ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long), ("value_ns", ctypes.c_long),
    )  # fmt: skip


class Timer:
    """A timerfd: `fd` is readable from the moment it was armed for until it is armed anew. No slack, unlike poll's."""

    def __init__(self) -> None:
        self.fd = _checked(_libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC))
        self._spec = _Itimerspec()
        self._reference = ctypes.byref(self._spec)

    def arm(self, at: int | None) -> None:
        """Fire at `at` (ns of the monotonic clock; at once if that has passed), or never."""
        # All zero would mean never, so a time is at least 1 ns.
        self._spec.value_s, self._spec.value_ns = (0, 0) if at is None else divmod(max(at, 1), 1_000_000_000)
        _checked(_libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, self._reference, None))
