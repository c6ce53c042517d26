"""The relay with real TAP devices, in two network namespaces of its own."""

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from entourage.lab.relay_tap import in_netns

pytestmark = [pytest.mark.lab, pytest.mark.alone]

DEADLINE_S = 20.0
ADDRESS = {"a": "10.9.0.1", "b": "10.9.0.2"}


def missing() -> str | None:
    if os.geteuid() != 0:
        return "needs root for network namespaces and TAP devices"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "needs /dev/net/tun (the kernel's tun driver)"
    return None if shutil.which("ip") else "needs the command ip (package iproute2)"


class Ends:
    """Two network namespaces, "a" and "b"."""

    def __init__(self) -> None:
        self.names = {end: f"relay-test-{os.getpid()}-{end}" for end in "ab"}

    def path(self, end: str) -> str:
        return f"/run/netns/{self.names[end]}"

    def ip(self, end: str, *arguments: str) -> None:
        subprocess.run(["ip", "-n", self.names[end], *arguments], check=True)

    def socket(self, end: str, kind: socket.SocketKind, port: int = 0) -> socket.socket:
        """A socket in that namespace, bound to its address, that gives up after the deadline."""
        with in_netns(self.path(end)):
            made = socket.socket(socket.AF_INET, kind)
        made.settimeout(DEADLINE_S)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((ADDRESS[end], port))
        return made

    def interfaces(self, end: str) -> set[str]:
        with in_netns(self.path(end)):
            return {name for _, name in socket.if_nameindex()} - {"lo"}


class Relay:
    """A running relay with one link, "l", and a client of its control socket."""

    def __init__(self, process: subprocess.Popen[str], control: Path) -> None:
        self.process = process
        self.control = control
        self.client = socket.socket(socket.AF_UNIX)
        self.client.settimeout(DEADLINE_S)
        self.client.connect(str(control))
        self.lines = self.client.makefile("rw")

    def ask_raw(self, line: str) -> dict[str, Any]:
        self.lines.write(line + "\n")
        self.lines.flush()
        answer: dict[str, Any] = json.loads(self.lines.readline())
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        return self.ask_raw(json.dumps(request))

    def stats(self, direction: str = "a_to_b") -> dict[str, Any]:
        counters: dict[str, Any] = self.ask(op="stats")["links"]["l"][direction]
        return counters

    def wait(self, what: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The counters from a to b as soon as they satisfy `reached`."""
        deadline = time.monotonic() + DEADLINE_S
        while not reached(stats := self.stats()):
            assert time.monotonic() < deadline, f"not {what}: {stats}"
        return stats

    def close(self) -> None:
        self.lines.close()
        self.client.close()


Start = Callable[..., Relay]


@pytest.fixture
def ends() -> Iterator[Ends]:
    if reason := missing():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    made = Ends()
    with ExitStack() as stack:
        for end, name in made.names.items():
            subprocess.run(["ip", "netns", "add", name], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "del", name], check=True)
            with in_netns(made.path(end)):
                # Neighbour discovery would be traffic that no test sent.
                Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        yield made


def config_of(ends: Ends, control: Path, **link: Any) -> dict[str, Any]:
    tap = {end: {"netns": ends.path(end), "ifname": "tap0"} for end in "ab"}
    defaults = {"name": "l", **tap, "rtt_ms": 0, "rate_bps": 1e9, "loss": 0.0, "mtu": 1500}
    return {"control": str(control), "links": [{**defaults, **link}]}


def spawn(config: dict[str, Any], path: Path) -> subprocess.Popen[str]:
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "entourage.lab.relay", str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def start(ends: Ends, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def started(**link: Any) -> Relay:
            control = tmp_path / "relay.sock"
            process = stack.enter_context(spawn(config_of(ends, control, **link), tmp_path / "relay.json"))
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            for end in "ab":
                ends.ip(end, "address", "add", f"{ADDRESS[end]}/24", "dev", "tap0")
            relay = Relay(process, control)
            stack.callback(relay.close)
            return relay

        yield started


def round_trip_ms(ends: Ends) -> float:
    """One datagram there and back. The first also waits for ARP, which only makes it longer."""
    with ends.socket("a", socket.SOCK_DGRAM) as near, ends.socket("b", socket.SOCK_DGRAM, 9) as far:
        sent_at = time.monotonic()
        near.sendto(b"?", (ADDRESS["b"], 9))
        _, source = far.recvfrom(10)
        far.sendto(b"!", source)
        near.recvfrom(10)
        return (time.monotonic() - sent_at) * 1000


def send_tcp(ends: Ends, data: bytes, *, port: int) -> tuple[bytes, float]:
    """What arrives at b, and the seconds from the connection's start to its last byte."""
    received = bytearray()
    with ends.socket("b", socket.SOCK_STREAM, port) as server, ends.socket("a", socket.SOCK_STREAM) as client:
        server.listen()
        began = time.monotonic()
        client.connect((ADDRESS["b"], port))
        far, _ = server.accept()
        with far:
            far.settimeout(DEADLINE_S)

            def send() -> None:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            while chunk := far.recv(1 << 20):
                received += chunk
            seconds = time.monotonic() - began
            sender.join()
    return bytes(received), seconds


def test_no_round_trip_is_shorter_than_configured_and_a_change_takes_effect(ends: Ends, start: Start) -> None:
    relay = start(rtt_ms=30)
    assert [rtt for _ in range(5) if (rtt := round_trip_ms(ends)) < 30] == []
    assert relay.ask(op="set", link="l", rtt_ms=120) == {"ok": True}
    assert round_trip_ms(ends) >= 120


def test_tcp_is_no_faster_than_the_rate_and_all_of_it_is_counted(ends: Ends, start: Start) -> None:
    relay = start(rtt_ms=10, rate_bps=8e6, mtu=9000)
    data = random.Random(1).randbytes(400_000)
    received, seconds = send_tcp(ends, data, port=7123)
    assert received == data
    assert seconds >= 0.4  # 400 kB at 1 MB/s
    stats = relay.wait("empty", lambda s: s["queued_packets"] == 0)
    # Payload, and 66 bytes of headers for each of the packets of up to 8,948 bytes.
    assert stats["classes"]["migration"] >= len(data) + len(data) // 8948 * 66
    assert stats["bytes"] == sum(stats["classes"].values())
    assert relay.stats("b_to_a")["classes"]["migration"] > 0


def test_superframes_pass_whole_and_count_as_the_packets_they_are(ends: Ends, start: Start) -> None:
    relay = start(mtu=1500)
    data = random.Random(2).randbytes(2_000_000)
    assert send_tcp(ends, data, port=9)[0] == data
    stats = relay.wait("empty", lambda s: s["queued_packets"] == 0)
    assert stats["packets"] >= len(data) / 1448
    with in_netns(ends.path("b")):
        # /sys shows the namespace of who mounted it; /proc/net follows the thread.
        counted = Path("/proc/thread-self/net/dev").read_text()
    frames = int(counted.partition("tap0:")[2].split()[1])
    assert 0 < frames < stats["packets"] / 2


def test_tcp_arrives_intact_although_packets_are_lost_from_superframes(ends: Ends, start: Start) -> None:
    relay = start(rtt_ms=1, loss=0.01)
    data = random.Random(3).randbytes(2_000_000)
    received, _ = send_tcp(ends, data, port=9)
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
    assert relay.stats()["dropped_loss"] > 0


def test_a_loss_of_one_lets_nothing_through_and_counts_it_all(ends: Ends, start: Start) -> None:
    relay = start()
    round_trip_ms(ends)  # so that both ends know the other's MAC address
    before = relay.stats()
    relay.ask(op="set", link="l", loss=1)
    with ends.socket("a", socket.SOCK_DGRAM) as near:
        for _ in range(20):
            near.sendto(bytes(100), (ADDRESS["b"], 9))
    after = relay.wait("all lost", lambda s: s["dropped_loss"] - before["dropped_loss"] >= 20)
    assert after["packets"] == before["packets"]
    assert after["dropped_bytes"] - before["dropped_bytes"] >= 20 * 142


def test_what_finds_the_queue_full_is_dropped_and_counted(ends: Ends, start: Start) -> None:
    relay = start()
    round_trip_ms(ends)
    relay.ask(op="set", link="l", rate_bps=100_000)
    with ends.socket("a", socket.SOCK_DGRAM) as near:
        for _ in range(250):
            near.sendto(bytes(1472), (ADDRESS["b"], 9))
    stats = relay.wait("full", lambda s: s["dropped_queue"] > 0)
    assert stats["queued_bytes"] <= 256 * 1024


def has_more(name: str, before: dict[str, int], stats: dict[str, Any]) -> bool:
    more: bool = stats["classes"][name] > before[name]
    return more


def test_bytes_are_counted_by_class(ends: Ends, start: Start) -> None:
    relay = start()
    vnis = {"segment": b"\x00\x00\x05", "late": b"\xff\xff\x01"}
    with ends.socket("a", socket.SOCK_DGRAM) as near:
        for sent, vni in vnis.items():
            before = relay.stats()["classes"]
            near.sendto(b"\x08\0\0\0" + vni + bytes(101), (ADDRESS["b"], 4789))
            after = relay.wait(f"a packet of class {sent}", partial(has_more, sent, before))["classes"]
            changed = {name: after[name] - before[name] for name in before}
            assert changed.pop(sent) == 42 + 108
            assert changed.pop("other") in (0, 42)  # ARP
            assert set(changed.values()) == {0}


def test_an_idle_relay_sleeps(ends: Ends, start: Start) -> None:
    relay = start(rtt_ms=1)
    round_trip_ms(ends)  # so that its timer has been in use
    before = relay.ask(op="stats")["wakeups"]
    for _ in range(200):
        after = relay.ask(op="stats")["wakeups"]
    # Each request wakes it once; the rest is room for stray packets. A loop that spins wakes at every turn.
    assert after - before <= 250


@pytest.mark.parametrize("delete_far_end", [False, True], ids=["near end", "far end"])
def test_a_relay_whose_device_was_deleted_lives_and_sleeps(ends: Ends, start: Start, delete_far_end: bool) -> None:
    relay = start()
    round_trip_ms(ends)
    ends.ip("b" if delete_far_end else "a", "link", "delete", "tap0")
    before = relay.ask(op="stats")["wakeups"]
    for _ in range(200):
        after = relay.ask(op="stats")["wakeups"]
    assert after - before <= 250


def test_frames_for_an_interface_that_is_down_are_counted_as_refused(ends: Ends, start: Start) -> None:
    relay = start(rtt_ms=1)
    round_trip_ms(ends)
    ends.ip("b", "link", "set", "tap0", "down")
    with ends.socket("a", socket.SOCK_DGRAM) as near:
        for _ in range(5):
            near.sendto(b"x", (ADDRESS["b"], 9))
    relay.wait("five refused", lambda s: s["dropped_write"] >= 5)
    ends.ip("b", "link", "set", "tap0", "up")
    assert round_trip_ms(ends) >= 1


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[1]", 'op must be "stats" or "set"'),
        ('{"op": "stop"}', 'op must be "stats" or "set"'),
        ('{"op": "set", "link": "m", "loss": 0}', "no link 'm'; there are l"),
        ('{"op": "set", "link": "l", "rate_bps": 0}', "request.rate_bps: must be"),
        ('{"op": "set", "rtt_ms": 1}', "request.link: must be a text"),
    ],
)
def test_a_bad_request_gets_an_error_and_the_next_an_answer(start: Start, line: str, error: str) -> None:
    relay = start()
    answer = relay.ask_raw(line)
    assert list(answer) == ["error"]
    assert error in answer["error"]
    assert "links" in relay.ask(op="stats")


def send_until_refused(client: socket.socket) -> None:
    while True:
        client.sendall(bytes(4096))


def test_a_client_that_never_ends_its_line_is_dismissed(start: Start) -> None:
    relay = start()
    with socket.socket(socket.AF_UNIX) as other:
        other.settimeout(DEADLINE_S)
        other.connect(str(relay.control))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_until_refused(other)
    assert "links" in relay.ask(op="stats")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_relay_leaves_nothing(ends: Ends, start: Start, number: int) -> None:
    relay = start()
    assert (ends.interfaces("a"), ends.interfaces("b")) == ({"tap0"}, {"tap0"})
    relay.process.send_signal(number)
    assert relay.process.wait(DEADLINE_S) == 0
    assert (ends.interfaces("a"), ends.interfaces("b")) == (set(), set())
    assert not relay.control.exists()


def test_a_killed_relay_can_be_started_again(ends: Ends, start: Start) -> None:
    relay = start()
    relay.process.kill()
    relay.process.wait(DEADLINE_S)
    assert relay.control.exists()
    start()
    assert round_trip_ms(ends) > 0


def refused(config: dict[str, Any], path: Path) -> str:
    """What a relay that cannot start says; it must be one line, with exit code 2."""
    with spawn(config, path) as process:
        output, error = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, output, error.count("\n")) == (2, "", 1)
    return error


def test_a_second_relay_is_refused_and_the_first_goes_on(ends: Ends, start: Start, tmp_path: Path) -> None:
    relay = start()
    config = config_of(ends, relay.control)
    assert "cannot make the TAP device tap0" in refused(config, tmp_path / "second.json")
    for end in "ab":
        config["links"][0][end]["ifname"] = "tap1"
    assert "another relay listens there" in refused(config, tmp_path / "second.json")
    assert (ends.interfaces("a"), ends.interfaces("b")) == ({"tap0"}, {"tap0"})
    assert "links" in relay.ask(op="stats")


def test_a_relay_that_cannot_start_leaves_nothing(ends: Ends, tmp_path: Path) -> None:
    control = tmp_path / "relay.sock"
    config = config_of(ends, control)
    config["links"][0]["b"]["netns"] = "/run/netns/relay-test-absent"
    error = refused(config, tmp_path / "relay.json")
    assert (
        error == "relay: cannot enter the network namespace /run/netns/relay-test-absent: No such file or directory\n"
    )
    assert ends.interfaces("a") == set()
    assert not control.exists()
    config = config_of(ends, tmp_path / "absent" / "relay.sock")
    assert "cannot listen there: No such file or directory" in refused(config, tmp_path / "relay.json")
    assert (ends.interfaces("a"), ends.interfaces("b")) == (set(), set())
