"""A steady stream of small UDP packets to the echo service: shows for how long the network let nothing through."""

import asyncio
import socket
import struct
import time
from contextlib import suppress
from math import floor

from entourage.probe.config import ProbeConfig
from entourage.probe.rawlog import LogWriter

_PACKET = struct.Struct("!QQ")  # sequence, time of sending in ns since the epoch
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the control message carries the same number
_TIMESPEC = struct.Struct("@ll")


class PacketStream:
    """Sends a packet at each tick and records the echoes.

    Arrival times are the kernel's, so a probe that got no CPU for a moment does not report a gap that was its own.
    """

    def __init__(self, config: ProbeConfig, log: LogWriter) -> None:
        self.sent = 0
        self.echoed = 0
        self._config = config
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._socket: socket.socket | None = None
        self._last_echo = 0.0
        self._gap = 0.0
        self._highest_echo = -1

    def start(self) -> None:
        """Begin, if the rate is above 0."""
        if self._config.stream_hz <= 0:
            return
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        # Connected: the kernel drops packets of any other sender.
        self._socket.connect((self._config.address, self._config.stream_port))
        self._loop.add_reader(self._socket, self._read)
        self._started_at = time.time_ns()
        self._last_echo = self._started_at / 1e9
        self._due = self._loop.time()
        self._tick()

    def stop(self) -> None:
        """Send no more packets; echoes are still recorded."""
        if self._timer is not None:
            self._timer.cancel()

    def outstanding(self) -> bool:
        """Whether the echo of the last packet has not come."""
        return self._highest_echo < self.sent - 1

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def take_gap_ms(self, now: float) -> float | None:
        """The longest time without an echo since the last call, the one that lasts at `now` included.

        None if there is no stream.
        """
        if self._socket is None:
            return None
        gap = max(self._gap, now - self._last_echo)
        self._gap = 0.0
        return gap * 1000

    def _tick(self) -> None:
        assert self._socket is not None
        sent_at = time.time_ns()
        with suppress(OSError):  # no route, or an ICMP error for an earlier packet: to a user it is a lost packet
            self._socket.send(_PACKET.pack(self.sent, sent_at))
        self._log.packet(sent_at / 1e9, self.sent)
        self.sent += 1
        # Ticks missed for want of CPU are left out: a burst would measure the probe, not the network.
        period = 1 / self._config.stream_hz
        self._due += period * (1 + floor((self._loop.time() - self._due) / period))
        self._timer = self._loop.call_at(self._due, self._tick)

    def _read(self) -> None:
        assert self._socket is not None
        while True:
            try:
                data, control, _, _ = self._socket.recvmsg(64, 64)
            except BlockingIOError:
                return
            except OSError:
                return  # an ICMP error that was queued; reading it has cleared it
            if len(data) == _PACKET.size:
                sequence, sent_at = _PACKET.unpack(data)
                if sequence < self.sent and sent_at >= self._started_at:  # else an earlier probe's, late
                    self._receive(_arrival(control), sequence)

    def _receive(self, arrived_at: float, sequence: int) -> None:
        self._log.echo(arrived_at, sequence)
        self.echoed += 1
        self._gap = max(self._gap, arrived_at - self._last_echo)
        self._last_echo = arrived_at
        self._highest_echo = max(self._highest_echo, sequence)


def _arrival(control: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return float(seconds + nanoseconds / 1e9)
    return time.time()
