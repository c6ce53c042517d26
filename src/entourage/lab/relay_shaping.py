"""What a link does to frames: rate, queue, delay and loss. Pure: the caller gives the time and the frames.

A frame is what a TAP device with IFF_VNET_HDR yields: a virtio-net header of 10 bytes (Virtual I/O Device 1.2,
5.1.6), then Ethernet. One with a GSO type is a superframe: the kernel left a TCP burst of up to 64 KiB whole, and
`gso_size` says how much payload each packet would carry on a wire. Such a frame counts as the packets it stands for.
"""

import random
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

VNET_HEADER_BYTES = 10
_ETHERNET = VNET_HEADER_BYTES
_IP = _ETHERNET + 14
_VNET = struct.Struct("<BBHHHH")  # flags, gso type, header length, gso size, checksum start, checksum offset
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_TCP, _UDP = 6, 17
_FIN_PSH, _CWR = 0x09, 0x80

MIGRATION_PORTS = range(7100, 7200)
VXLAN_PORT = 4789
LATE_VNI_MIN = 0xFFFF00
CLASSES = ("migration", "segment", "late", "other")

QUEUE_NS_MIN = 100_000_000
QUEUE_BYTES_MIN = 256 * 1024


def classify(frame: bytes) -> str:
    """What the frame is for, by its outer header: one of `CLASSES`. Anything but whole IPv4 packets is "other"."""
    if len(frame) < _IP + 28 or frame[_IP - 2 : _IP] != _IPV4 or frame[_IP + 6] & 0x1F or frame[_IP + 7]:
        return "other"
    start = _IP + (frame[_IP] & 0x0F) * 4
    protocol = frame[_IP + 9]
    # Slices, not indices: a header may claim to be longer than the frame.
    source = int.from_bytes(frame[start : start + 2], "big")
    target = int.from_bytes(frame[start + 2 : start + 4], "big")
    if protocol == _TCP:
        return "migration" if source in MIGRATION_PORTS or target in MIGRATION_PORTS else "other"
    if protocol == _UDP and target == VXLAN_PORT:
        vni = int.from_bytes(frame[start + 12 : start + 15], "big")
        return "late" if vni >= LATE_VNI_MIN else "segment"
    return "other"


def measure(frame: bytes) -> tuple[int, int]:
    """How many packets the frame is on a wire, and their bytes in all: each packet has headers of its own.

    Bytes are those of Ethernet frames without preamble, checksum and gap, as the kernel's shapers count.
    """
    size = len(frame) - VNET_HEADER_BYTES
    if not frame[1]:
        return 1, size
    payload_start, segment = _superframe(frame)
    headers = payload_start - VNET_HEADER_BYTES
    packets = max(1, -(-(size - headers) // segment))
    return packets, size + (packets - 1) * headers


def cut(frame: bytes, *, first: int, end: int) -> bytes:
    """The packets `first` to `end` - 1 of a TCP superframe as a frame of their own, as if sent so by the host.

    What the kernel's own segmentation does (RFC 9293 for the fields): sequence number, IP length and
    identification, flags only on the packet that had them, and the partial checksum over the pseudo-header.
    """
    payload_start, segment = _superframe(frame)
    flags, gso_type, _, _, tcp, checksum_offset = _VNET.unpack_from(frame)
    tcp += VNET_HEADER_BYTES
    payload = frame[payload_start + first * segment : payload_start + end * segment]
    header = bytearray(frame[:payload_start])
    whole = len(payload) > segment
    _VNET.pack_into(
        header, 0, flags, gso_type if whole else 0, payload_start - VNET_HEADER_BYTES, segment if whole else 0,
        tcp - VNET_HEADER_BYTES, checksum_offset,
    )  # fmt: skip
    _add(header, tcp + 4, 4, first * segment)
    header[tcp + 13] &= ~(_CWR if first else 0) & ~(_FIN_PSH if payload_start + end * segment < len(frame) else 0)
    length_change = payload_start + len(payload) - len(frame)
    checksum_at = tcp + checksum_offset
    checksum = _fold(int.from_bytes(header[checksum_at : checksum_at + 2], "big") + length_change % 0xFFFF)
    header[checksum_at : checksum_at + 2] = checksum.to_bytes(2, "big")
    if header[_IP - 2 : _IP] == _IPV4:
        _add(header, _IP + 2, 2, length_change)
        _add(header, _IP + 4, 2, first)
        header[_IP + 10 : _IP + 12] = b"\0\0"
        words = struct.unpack_from(f">{(header[_IP] & 0x0F) * 2}H", header, _IP)
        header[_IP + 10 : _IP + 12] = (0xFFFF - _fold(sum(words))).to_bytes(2, "big")
    else:
        _add(header, _IP + 4, 2, length_change)
    return bytes(header) + payload


def _superframe(frame: bytes) -> tuple[int, int]:
    """Where the payload of a superframe starts, and how much of it each packet carries.

    The header's own length field is only a hint (it is how much the kernel had in one piece), so TCP's is read.
    """
    segment = frame[4] | frame[5] << 8
    tcp = VNET_HEADER_BYTES + (frame[6] | frame[7] << 8)
    return tcp + (frame[tcp + 12] >> 4) * 4, segment


def _add(header: bytearray, at: int, width: int, amount: int) -> None:
    value = int.from_bytes(header[at : at + width], "big") + amount
    header[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "big")


def _fold(total: int) -> int:
    """The ones' complement sum of RFC 1071 in 16 bits."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _queue_ns(rate_bps: int) -> int:
    """How long the last bit of a full queue waits at that rate."""
    return max(QUEUE_NS_MIN, QUEUE_BYTES_MIN * 8_000_000_000 // rate_bps)


@dataclass(slots=True, kw_only=True)
class Counters:
    """What became of the packets of one direction since the start. Packets and bytes as on a wire."""

    packets: int = 0  # came out of the link
    bytes: int = 0
    dropped_loss: int = 0  # packets
    dropped_queue: int = 0  # packets that found the queue full
    dropped_bytes: int = 0  # for either reason
    classes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))  # bytes that came out


class Shaper:
    """One direction of a link. Frames come out in order, each after its turn at `rate_bps` and then `delay_ns`.

    A virtual clock says when the link is free: a frame departs at max(now, free) + bits / rate (the last bit of a
    superframe counts). The queue before it holds 100 ms at the rate, at least 256 KiB; what finds it full is
    dropped whole. Each packet is lost with probability `loss`, before it takes any of the rate. Times in ns.
    """

    __slots__ = ("_delay_ns", "_free_at", "_loss", "_queue", "_queue_ns", "_random", "_rate_bps", "counters")

    def __init__(self, *, delay_ns: int, rate_bps: int, loss: float, seed: str) -> None:
        self._delay_ns = delay_ns
        self._loss = loss
        self._random = random.Random(seed).random  # noqa: S311 (loss must repeat, not surprise)
        self._free_at = 0
        self._queue: deque[tuple[int, int, int, bytes]] = deque()  # departure, packets, bytes, frame
        self.counters = Counters()
        self._rate_bps = rate_bps
        self._queue_ns = _queue_ns(rate_bps)

    def offer(self, frame: bytes, *, now: int) -> None:
        """A frame has arrived: it is queued, or what does not get through is counted as dropped."""
        packets, wire = measure(frame)
        if self._loss:
            lost = [self._random() < self._loss for _ in range(packets)]
            if any(lost):
                self._offer_survivors(frame, lost, wire=wire, now=now)
                return
        self._enqueue(frame, packets, wire, now)

    def release(self, *, now: int, frames_max: int) -> Iterator[bytes]:
        """The frames whose time has come, at most `frames_max` of them, oldest first; each counts as delivered."""
        departed = now - self._delay_ns
        queue, counters = self._queue, self.counters
        while queue and queue[0][0] <= departed and frames_max > 0:
            _, packets, wire, frame = queue.popleft()
            frames_max -= 1
            counters.packets += packets
            counters.bytes += wire
            counters.classes[classify(frame)] += wire
            yield frame

    def next_due(self) -> int | None:
        """When the next frame comes out; None if there is none."""
        return self._queue[0][0] + self._delay_ns if self._queue else None

    def queued(self) -> tuple[int, int]:
        """Packets and bytes that are inside, queued or on their way."""
        return sum(entry[1] for entry in self._queue), sum(entry[2] for entry in self._queue)

    def set_delay(self, delay_ns: int) -> None:
        """Change the delay, for the frames inside too: a shorter one lets some out at once, in order."""
        self._delay_ns = delay_ns

    def set_loss(self, loss: float) -> None:
        """Change the probability of loss, for packets that arrive from now on."""
        self._loss = loss

    def set_rate(self, rate_bps: int, *, now: int) -> None:
        """Change the rate. What has not departed by `now` does so at the new rate."""
        before = self._rate_bps

        def scaled(departure: int) -> int:
            return departure if departure <= now else now - (departure - now) * before // -rate_bps

        self._queue = deque((scaled(entry[0]), *entry[1:]) for entry in self._queue)
        self._free_at = scaled(self._free_at)
        self._rate_bps = rate_bps
        self._queue_ns = _queue_ns(rate_bps)

    def _enqueue(self, frame: bytes, packets: int, wire: int, now: int) -> None:
        start = max(now, self._free_at)
        departure = start - wire * 8_000_000_000 // -self._rate_bps  # rounded up: never faster than the rate
        if start > now and departure - now > self._queue_ns:
            self.counters.dropped_queue += packets
            self.counters.dropped_bytes += wire
            return
        self._free_at = departure
        self._queue.append((departure, packets, wire, frame))

    def _offer_survivors(self, frame: bytes, lost: list[bool], *, wire: int, now: int) -> None:
        self.counters.dropped_loss += sum(lost)
        index = 0
        for is_lost, run in groupby(lost):
            first, index = index, index + len(list(run))
            if not is_lost:
                piece = cut(frame, first=first, end=index)
                packets, piece_wire = measure(piece)
                wire -= piece_wire
                self._enqueue(piece, packets, piece_wire, now)
        self.counters.dropped_bytes += wire
