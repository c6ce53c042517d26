"""The relay's pure parts: what a link does to frames, what frames are, and what a configuration may say."""

import json
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entourage.lab.relay_config import load_config, parse_change
from entourage.lab.relay_shaping import QUEUE_BYTES_MIN, Shaper, classify, cut, measure
from entourage.lab.relay_tap import RelayError

MS = 1_000_000
PLAIN = bytes(10)
HEADERS_BYTES = 14 + 20 + 32  # Ethernet, IPv4, TCP with 12 bytes of options


def plain_frame(size: int, mark: int = 0) -> bytes:
    """A frame of `size` bytes on the wire that is one packet."""
    return PLAIN + mark.to_bytes(4, "big") + bytes(size - 4)


def ones_complement_sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_header_sum(packet: bytes) -> int:
    """What the partial checksum of a TCP packet (from its IP header) must hold (RFC 9293, RFC 8200)."""
    if packet[0] >> 4 == 4:
        return ones_complement_sum(packet[12:20] + struct.pack(">HH", 6, len(packet) - 20))
    return ones_complement_sum(packet[8:40] + struct.pack(">II", len(packet) - 40, 6))


def superframe(payload: bytes, *, segment: int, version: int = 4, flags: int = 0x18) -> bytes:
    """A TCP burst as a TAP device yields it: partial checksum, total lengths of the whole burst."""
    tcp = struct.pack(">HHIIBBHHH", 40000, 7100, 0xFFFF_FF00, 1, 8 << 4, flags, 512, 0, 0) + b"\x01" * 12
    if version == 4:
        length = 20 + len(tcp) + len(payload)
        ip = struct.pack(">BBHHHBBH", 0x45, 0, length, 0xFFFF, 0x4000, 64, 6, 0) + b"\x0a\0\0\1\x0a\0\0\2"
        ip = ip[:10] + struct.pack(">H", 0xFFFF - ones_complement_sum(ip)) + ip[12:]
    else:
        ip = struct.pack(">IHBB", 6 << 28, len(tcp) + len(payload), 6, 64) + bytes(range(32))
    packet = ip + tcp + payload
    at = len(ip) + 16
    packet = packet[:at] + struct.pack(">H", pseudo_header_sum(packet)) + packet[at + 2 :]
    # The kernel's header length is a hint and may say more than the headers: 128 here.
    vnet = struct.pack("<BBHHHH", 1, 1 if version == 4 else 4, 128, segment, 14 + len(ip), 16)
    return vnet + bytes(12) + (b"\x08\x00" if version == 4 else b"\x86\xdd") + packet


def drain(shaper: Shaper) -> list[tuple[int, bytes]]:
    """Everything that comes out, with the moment at which it was due."""
    out: list[tuple[int, bytes]] = []
    while (due := shaper.next_due()) is not None:
        out.extend((due, frame) for frame in shaper.release(now=due, frames_max=1))
    return out


arrivals = st.lists(st.tuples(st.integers(0, 20 * MS), st.integers(60, 9014)), min_size=1, max_size=60)
rates = st.integers(100_000, 10_000_000_000)
delays = st.integers(0, 100 * MS)


def offer_all(shaper: Shaper, gaps_and_sizes: list[tuple[int, int]]) -> dict[bytes, int]:
    """Offer frames one after another, never releasing; each frame's arrival."""
    now, arrived = 0, {}
    for mark, (gap, size) in enumerate(gaps_and_sizes):
        now += gap
        frame = plain_frame(size, mark)
        arrived[frame] = now
        shaper.offer(frame, now=now)
    return arrived


@given(arrivals, rates, delays)
def test_frames_keep_their_order_and_none_is_early(
    gaps_and_sizes: list[tuple[int, int]], rate: int, delay: int
) -> None:
    shaper = Shaper(delay_ns=delay, rate_bps=rate, loss=0.0, seed="s")
    arrived = offer_all(shaper, gaps_and_sizes)
    out = drain(shaper)
    survivors = [frame for _, frame in out]
    assert survivors == [frame for frame in arrived if frame in set(survivors)]
    for due, frame in out:
        bits = (len(frame) - 10) * 8
        assert (due - arrived[frame] - delay) * rate >= bits * 1_000_000_000


@given(arrivals, rates, delays)
def test_over_no_span_does_more_come_out_than_the_rate_allows(
    gaps_and_sizes: list[tuple[int, int]], rate: int, delay: int
) -> None:
    shaper = Shaper(delay_ns=delay, rate_bps=rate, loss=0.0, seed="s")
    offer_all(shaper, gaps_and_sizes)
    out = drain(shaper)
    for first in range(len(out)):
        bits = 0
        for due, frame in out[first + 1 :]:
            bits += (len(frame) - 10) * 8
            assert (due - out[first][0]) * rate >= bits * 1_000_000_000


@given(
    st.lists(st.tuples(st.integers(0, 40 * MS), st.sampled_from(["small", "large", "super"])), min_size=1, max_size=60),
    st.integers(1_000_000, 1_000_000_000),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_every_packet_and_byte_is_delivered_dropped_or_inside(
    events: list[tuple[int, str]], rate: int, loss: float
) -> None:
    kinds = {"small": plain_frame(60), "large": plain_frame(9014), "super": superframe(bytes(60_000), segment=8948)}
    shaper = Shaper(delay_ns=25 * MS, rate_bps=rate, loss=loss, seed="s")
    now = packets = size = came_out = 0
    for gap, kind in events:
        now += gap
        shaper.offer(kinds[kind], now=now)
        packets, size = packets + measure(kinds[kind])[0], size + measure(kinds[kind])[1]
        came_out += sum(measure(frame)[1] for frame in shaper.release(now=now, frames_max=2))
        counters, (inside_packets, inside_bytes) = shaper.counters, shaper.queued()
        assert packets == counters.packets + counters.dropped_loss + counters.dropped_queue + inside_packets
        # Each packet carries its own headers, so cutting a superframe neither adds nor takes bytes.
        assert size == counters.bytes + counters.dropped_bytes + inside_bytes
        assert came_out == counters.bytes == sum(counters.classes.values())


@given(arrivals, rates, rates, st.integers(0, 100 * MS))
def test_a_new_rate_holds_for_what_is_still_queued(
    gaps_and_sizes: list[tuple[int, int]], before: int, after: int, change_after: int
) -> None:
    shaper = Shaper(delay_ns=0, rate_bps=before, loss=0.0, seed="s")
    offer_all(shaper, gaps_and_sizes)
    now = sum(gap for gap, _ in gaps_and_sizes) + change_after
    _, inside = shaper.queued()
    done = sum(len(frame) - 10 for frame in shaper.release(now=now, frames_max=1000))
    shaper.set_rate(after, now=now)
    out = drain(shaper)
    dues = [due for due, _ in out]
    assert dues == sorted(dues)
    assert done + sum(len(frame) - 10 for _, frame in out) == inside
    for (due, _), (next_due, next_frame) in pairwise(out):
        assert (next_due - due + 1) * after >= (len(next_frame) - 10) * 8 * 1_000_000_000


def test_a_slower_rate_stretches_the_queue_in_proportion() -> None:
    shaper = Shaper(delay_ns=0, rate_bps=8_000_000, loss=0.0, seed="s")
    for _ in range(10):
        shaper.offer(plain_frame(1000), now=0)  # 1 ms each
    assert len(list(shaper.release(now=2 * MS, frames_max=10))) == 2
    shaper.set_rate(4_000_000, now=2 * MS)
    assert [due for due, _ in drain(shaper)] == [(2 + 2 * index) * MS for index in range(1, 9)]


def test_a_shorter_delay_lets_out_what_is_due_by_it_in_order() -> None:
    shaper = Shaper(delay_ns=100 * MS, rate_bps=8_000_000_000, loss=0.0, seed="s")
    frames = [plain_frame(1000, mark) for mark in range(3)]
    for index, frame in enumerate(frames):
        shaper.offer(frame, now=index * 10 * MS)
    assert list(shaper.release(now=30 * MS, frames_max=10)) == []
    shaper.set_delay(15 * MS)
    assert list(shaper.release(now=30 * MS, frames_max=10)) == frames[:2]


def test_no_more_than_asked_is_released_at_once() -> None:
    shaper = Shaper(delay_ns=0, rate_bps=8_000_000_000, loss=0.0, seed="s")
    for mark in range(5):
        shaper.offer(plain_frame(100, mark), now=0)
    assert len(list(shaper.release(now=MS, frames_max=3))) == 3
    assert shaper.counters.packets == 3
    assert shaper.queued() == (2, 200)


@pytest.mark.parametrize(
    ("rate_bps", "holds"),
    [
        pytest.param(1_000_000_000, 12_500_000, id="100 ms at a fast rate"),
        pytest.param(1_000_000, QUEUE_BYTES_MIN, id="256 KiB at a slow rate"),
    ],
)
def test_the_queue_holds_so_much_and_drops_the_rest(rate_bps: int, holds: int) -> None:
    shaper = Shaper(delay_ns=25 * MS, rate_bps=rate_bps, loss=0.0, seed="s")
    for _ in range(holds // 1000 + 50):
        shaper.offer(plain_frame(1000), now=0)
    assert shaper.queued() == (holds // 1000, holds // 1000 * 1000)
    assert shaper.counters.dropped_queue == 50


def test_an_empty_queue_takes_a_frame_of_any_size() -> None:
    shaper = Shaper(delay_ns=0, rate_bps=1_000_000, loss=0.0, seed="s")
    for _ in range(2):
        shaper.offer(plain_frame(QUEUE_BYTES_MIN + 1000), now=0)
    assert shaper.queued() == (1, QUEUE_BYTES_MIN + 1000)
    assert shaper.counters.dropped_queue == 1


def test_a_superframe_takes_the_time_of_all_its_headers() -> None:
    frame = superframe(bytes(14_480), segment=1448)
    shaper = Shaper(delay_ns=5 * MS, rate_bps=8_000_000, loss=0.0, seed="s")
    shaper.offer(frame, now=0)
    assert measure(frame) == (10, 14_480 + 10 * HEADERS_BYTES)
    assert shaper.next_due() == (14_480 + 10 * HEADERS_BYTES) * 1000 + 5 * MS


def test_loss_is_of_packets_also_within_superframes() -> None:
    shaper = Shaper(delay_ns=0, rate_bps=1_000_000_000_000, loss=0.1, seed="s")
    for index in range(500):
        shaper.offer(superframe(bytes(14_480), segment=1448), now=index * MS)
    assert 400 < shaper.counters.dropped_loss < 600  # 5,000 packets: 500, and five standard deviations


def test_the_same_seed_loses_the_same_packets() -> None:
    def survivors(seed: str) -> list[bytes]:
        shaper = Shaper(delay_ns=0, rate_bps=1_000_000_000, loss=0.5, seed=seed)
        offer_all(shaper, [(MS, 100)] * 64)
        return [frame for _, frame in drain(shaper)]

    assert survivors("one") == survivors("one")
    assert survivors("one") != survivors("two")


@given(
    st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1), st.integers(1, 1448))),
    st.sampled_from([4, 6]),
)
def test_a_cut_piece_is_what_the_host_would_have_sent(shape: tuple[int, int, int], version: int) -> None:
    packets, first, last_size = shape
    payload = bytes(index % 251 for index in range((packets - 1) * 1448 + last_size))
    frame = superframe(payload, segment=1448, version=version, flags=0x99)  # CWR, ACK, PSH, FIN
    for end in range(first + 1, packets + 1):
        piece = cut(frame, first=first, end=end)
        start = 24 + (20 if version == 4 else 40)
        kept = payload[first * 1448 : end * 1448]
        assert piece[start + 32 :] == kept
        sequence, flags = struct.unpack_from(">I", piece, start + 4)[0], piece[start + 13]
        assert sequence == (0xFFFF_FF00 + first * 1448) % 2**32
        assert flags == 0x10 | (0x80 if first == 0 else 0) | (0x09 if end == packets else 0)
        assert ones_complement_sum(piece[start + 16 : start + 18]) == pseudo_header_sum(piece[24:])
        assert piece[1:2] + piece[4:6] == ((frame[1:2] + frame[4:6]) if len(kept) > 1448 else bytes(3))
        assert measure(piece)[0] == end - first
        if version == 4:
            total, ip_id = struct.unpack_from(">HH", piece, 26)
            assert (total, ip_id) == (len(piece) - 24, (0xFFFF + first) % 2**16)
            assert ones_complement_sum(piece[24:44]) == 0xFFFF
        else:
            assert struct.unpack_from(">H", piece, 28)[0] == len(piece) - 64


def ipv4_frame(protocol: int, source: int, target: int, *, vni: int = 0, fragment: int = 0, options: int = 0) -> bytes:
    ip = struct.pack(">BBHHHBBHII", 0x45 + options, 0, 0, 0, fragment, 64, protocol, 0, 1, 2) + bytes(4 * options)
    ports = struct.pack(">HHHH", source, target, 0, 0)
    return PLAIN + bytes(12) + b"\x08\x00" + ip + ports + struct.pack(">II", 0x08000000, vni << 8) + bytes(30)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        pytest.param(ipv4_frame(6, 40000, 7100), "migration", id="TCP to the first migration port"),
        pytest.param(ipv4_frame(6, 7199, 40000), "migration", id="TCP from the last migration port"),
        pytest.param(ipv4_frame(6, 40000, 7199, options=3), "migration", id="IP options"),
        pytest.param(ipv4_frame(6, 7099, 7200), "other", id="TCP beside the migration ports"),
        pytest.param(ipv4_frame(17, 7100, 7100), "other", id="UDP with a migration port"),
        pytest.param(ipv4_frame(17, 40000, 4789, vni=0xFFFEFF), "segment", id="last VNI of a segment"),
        pytest.param(ipv4_frame(17, 40000, 4789, vni=0xFFFF00), "late", id="first VNI of late packets"),
        pytest.param(ipv4_frame(17, 4789, 40000, vni=5), "other", id="UDP from the VXLAN port"),
        pytest.param(ipv4_frame(17, 40000, 4789, vni=5, fragment=0x2000), "segment", id="first fragment"),
        pytest.param(ipv4_frame(17, 40000, 4789, vni=5, fragment=1), "other", id="later fragment has no ports"),
        pytest.param(ipv4_frame(6, 40000, 7100)[:44], "other", id="shorter than its headers"),
        pytest.param(ipv4_frame(6, 0, 0, options=10)[:52], "other", id="header said longer than the frame"),
        pytest.param(plain_frame(100), "other", id="not IP"),
        pytest.param(superframe(bytes(3000), segment=1448), "migration", id="superframe"),
        pytest.param(superframe(bytes(3000), segment=1428, version=6), "other", id="IPv6"),
    ],
)
def test_a_frame_is_classified_by_its_outer_header(frame: bytes, expected: str) -> None:
    assert classify(frame) == expected


GOOD: dict[str, Any] = {
    "control": "/run/x.sock",
    "links": [
        {
            "name": "inter-site",
            "a": {"netns": "/run/netns/a", "ifname": "eth-x"},
            "b": {"netns": "/run/netns/b", "ifname": "eth-x"},
            "rtt_ms": 50,
            "rate_bps": 2e8,
            "loss": 0.0,
            "mtu": 9000,
        }
    ],
}


def written(tmp_path: Path, change: Callable[[Any], Any]) -> Path:
    config = json.loads(json.dumps(GOOD))
    change(config)
    path = tmp_path / "relay.json"
    path.write_text(json.dumps(config))
    return path


def test_a_good_configuration_is_read(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, lambda _: None))
    (link,) = config.links
    assert (config.control, config.seed, link.name, link.a.ifname, link.rtt_ms, link.rate_bps, link.loss, link.mtu) == (
        "/run/x.sock", 0, "inter-site", "eth-x", 50, 200_000_000, 0.0, 9000,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("control"), "config.control: must be a text that is not empty"),
        (lambda c: c.update(control="x" * 108), "config.control: a socket's path has at most 107 bytes"),
        (lambda c: c.update(links=[]), "links: must be a list of at least one link"),
        (lambda c: c.update(link=1), "config: unknown key 'link'; known are control, links, seed"),
        (lambda c: c["links"].append(c["links"][0]), "link 'inter-site': inter-site is there twice"),
        (lambda c: c["links"][0].update(b=c["links"][0]["a"]), "eth-x') is there twice"),
        (lambda c: c["links"][0].update(a="east"), "links[0].a: must be an object with ifname, netns"),
        (lambda c: c["links"][0]["a"].update(ifname="eth-%d"), "links[0].a.ifname: 'eth-%d' is no interface name"),
        (lambda c: c["links"][0]["b"].update(ifname="x" * 16), "is no interface name (at most 15 bytes)"),
        (lambda c: c["links"][0].pop("rtt_ms"), "links[0].rtt_ms: must be a number"),
        (lambda c: c["links"][0].update(rtt_ms=True), "links[0].rtt_ms: must be a number"),
        (lambda c: c["links"][0].update(rtt_ms=float("nan")), "links[0].rtt_ms: must be a number"),
        (lambda c: c["links"][0].update(rtt_ms=10**400), "links[0].rtt_ms: must be a number"),
        (lambda c: c["links"][0].update(rtt_ms=-1), "links[0].rtt_ms: must be 0 to 60000"),
        (lambda c: c["links"][0].update(rate_bps=0), "links[0].rate_bps: must be 1e3 to 1e12"),
        (lambda c: c["links"][0].update(loss=1.1), "links[0].loss: must be 0 to 1"),
        (lambda c: c["links"][0].update(mtu=1500.5), "links[0].mtu: must be a whole number"),
        (lambda c: c["links"][0].update(mtu=65535), "links[0].mtu: must be 68 to 65521"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_place(
    tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    path = written(tmp_path, change)
    with pytest.raises(RelayError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_files_that_are_no_configuration_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.json"
    with pytest.raises(RelayError, match="cannot read it: No such file"):
        load_config(path)
    for content in (b"", b"{", b"\xff\xfe\x00", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(RelayError, match="not JSON"):
            load_config(path)
    path.write_bytes(b"[]")
    with pytest.raises(RelayError, match="config: must be an object"):
        load_config(path)


def test_a_change_names_only_what_it_changes() -> None:
    change = parse_change({"op": "set", "link": "inter-site", "loss": 0.5})
    assert (change.link, change.rtt_ms, change.rate_bps, change.loss) == ("inter-site", None, None, 0.5)
    with pytest.raises(RelayError, match="rate_bps: must be"):
        parse_change({"op": "set", "link": "inter-site", "rate_bps": "fast"})
    with pytest.raises(RelayError, match="unknown key 'rtt'"):
        parse_change({"op": "set", "link": "inter-site", "rtt": 1})
