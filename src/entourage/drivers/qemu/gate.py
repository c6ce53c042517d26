"""The gate: a valve in a member's migration stream, between the source's QEMU and the target's.

QEMU writes its stream into a socket pair; a thread of ours forwards it over TCP while the gate is open. Closing the
gate holds the migration in pre-copy within a few kB; opening it lets it go on at once. The two other ways to hold
were measured and are slower to let go: a throttled `max-bandwidth` is looked at each 100 ms only (QEMU's
BUFFER_DELAY), and a paused target closes the TCP window, which costs another round trip.

When the process that holds the gate dies, the stream breaks: the target gives up, and the source has lost nothing.
"""

import fcntl
import math
import socket
import struct
import sys
import threading
import time
from contextlib import suppress

# What QEMU can write beyond a closed gate: a lot while copying, where throughput counts; next to nothing where a
# pass may have only some pages to send and QEMU, finding them sent, would go on to the end of the migration.
_WIDE = 256 * 1024
# But never less than a whole TLS record and its socket buffer: cut off in the middle of one by a cancel, QEMU waits for
# room (7.2, io/channel-tls.c) that a full AF_UNIX socket does not have before its reader has gone, and would spin until
# the death of a process that holds this gate and stands still.
_NARROW = 17 * 1024
_CHUNK = 64 * 1024
_PACED_CHUNK_MIN = 4 * 1024
_PACED_EACH_S = 0.004  # a paced gate wakes up this often, however fast it is
# Unsent data in the TCP socket beyond which the kernel takes no more: what is sent is decided late, not queued.
_NOTSENT_LOWAT = 128 * 1024
_TCP_NOTSENT_LOWAT = 25  # linux/tcp.h; not in Python 3.11's socket module
_SIOCOUTQ = 0x5411  # linux/sockios.h: bytes that were not acknowledged yet
# Of `struct tcp_info` in linux/tcp.h: a byte of flags, tcpi_min_rtt in us, tcpi_delivery_rate in bytes/s.
_TCP_INFO, _APP_LIMITED = struct.Struct("=7xB140xI8xQ"), 1


class StreamGate:
    """One member's stream. Opened and closed from any thread; `qemu_end` is what QEMU gets a duplicate of."""

    def __init__(self, connection: socket.socket, *, name: str) -> None:
        """`connection` is a connected TCP socket to the target's incoming port; the gate owns it from now on."""
        self.bytes_sent = 0
        self._remote = connection
        self._remote.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT)
        self._remote.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.qemu_end, self._local = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._pace, self._chunk = math.inf, _CHUNK
        self._open = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=f"{kind}-{name}", daemon=True)
            for kind, work in (("gate", self._forward), ("answers", self._give_back))
        ]
        for thread in self._threads:
            thread.start()

    def qemu_has_it(self) -> None:
        """QEMU has got its end, and has not begun to write.

        It shakes hands for TLS in its main loop, and waits in it on a socket that blocks: for two round trips users
        would wait, too. Both duplicates block or neither does, and QEMU lets all block that it gets
        (`qio_channel_socket_copy_fds`), and this one again when the stream begins (`migrate_fd_connect`).
        """
        self.qemu_end.setblocking(False)

    @property
    def is_open(self) -> bool:
        """Whether the stream flows."""
        return self._open.is_set()

    def open(self, *, pace: float = math.inf) -> None:
        """Let the stream flow, at `pace` bytes/s at the most."""
        self._pace = pace
        self._chunk = _CHUNK if pace == math.inf else int(min(_CHUNK, max(_PACED_CHUNK_MIN, pace * _PACED_EACH_S)))
        self._widen(_WIDE if pace == math.inf else max(self._chunk, _NARROW))
        self._open.set()

    def close(self) -> None:
        """Hold the stream: at most what was read already still goes out."""
        self._open.clear()
        self._widen(_NARROW)

    def _widen(self, size: int) -> None:
        """How many bytes QEMU can write ahead of us."""
        with suppress(OSError):  # released already: a late event of QEMU has nothing to open any more
            self.qemu_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def takes_s(self, left: int) -> float:
        """How long `left` bytes would take behind those that wait already, by what the link has carried of late.

        Beyond the time that every byte is under way. 0 if it was not the link that held the stream back: then nobody
        knows how much it could have carried. Source: net/ipv4/tcp_rate.c of the Linux kernel.
        """
        with suppress(OSError):  # a broken stream shows elsewhere
            info = self._remote.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
            limited, min_rtt_us, rate = _TCP_INFO.unpack(info)
            if rate and not limited & _APP_LIMITED:
                sent = int.from_bytes(fcntl.ioctl(self._remote, _SIOCOUTQ, bytes(4)), sys.byteorder)
                return max(0.0, float((sent + left) / rate - min_rtt_us / 1e6))
        return 0.0

    def release(self) -> None:
        """Break the stream off and free the sockets. May be called twice."""
        for end in (self._local, self._remote):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.set()
        for thread in self._threads:
            thread.join(timeout=5)
        for end in (self.qemu_end, self._local, self._remote):
            end.close()

    def _forward(self) -> None:
        try:
            while True:
                self._open.wait()
                chunk = self._local.recv(self._chunk)
                if not chunk:
                    break
                self._open.wait()
                self.bytes_sent += len(chunk)  # before: the target may be whole before we are back
                self._remote.sendall(chunk)
                if self._pace != math.inf:
                    time.sleep(len(chunk) / self._pace)
            self._remote.shutdown(socket.SHUT_WR)
        except OSError:
            # One side is gone. QEMU sees a broken stream on its side and reports the failed migration itself.
            with suppress(OSError):
                self._local.shutdown(socket.SHUT_RDWR)

    def _give_back(self) -> None:
        """What the target says, never held: with TLS its half of the handshake, without TLS nothing."""
        with suppress(OSError):  # one side is gone: `_forward` is told so as well when it writes, and breaks off
            while answer := self._remote.recv(_CHUNK):
                self._local.sendall(answer)
        with suppress(OSError):
            # The target ends it before the handshake is over when it lets nobody in, or its host is gone: the source
            # reads the end then, and what it still writes is not cut off by that.
            self._local.shutdown(socket.SHUT_WR)
