"""A relay in user space that gives links delay, rate and loss where the kernel has no netem.

`python -m entourage.lab.relay CONFIG.json` makes a TAP device at each end of each link (two network namespaces a
link), prints `ready`, and carries frames between them until SIGTERM. One thread serves all links. The configuration:

    {"control": SOCKET_PATH, "seed": 0, "links": [{"name": "inter-site", "rtt_ms": 50, "rate_bps": 2e8, "loss": 0.0,
     "mtu": 9000, "a": {"netns": "/run/netns/NAME", "ifname": "eth-x"}, "b": {...}}]}

The control socket takes a JSON object a line and answers with one:

    {"op": "stats"}  ->  {"realtime": true, "wakeups": N, "links": {NAME: {"a_to_b": COUNTERS, "b_to_a": COUNTERS}}}
    {"op": "set", "link": NAME, "rtt_ms"?: MS, "rate_bps"?: BPS, "loss"?: SHARE}  ->  {"ok": true}
    anything else  ->  {"error": TEXT}

COUNTERS are those of `relay_shaping.Counters`, what is inside now (`queued_packets`, `queued_bytes`), and frames
that the far interface refused because it was down (`dropped_write`).
"""

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from entourage.drivers.sockets import listen
from entourage.lab.relay_config import Change, Config, Link, load_config, parse_change
from entourage.lab.relay_shaping import Shaper
from entourage.lab.relay_tap import FRAME_BYTES_MAX, RelayError, Timer, open_tap

BATCH_FRAMES = 16  # per direction and wake-up: under 1 ms of work even for superframes, so that all get their turn
PRIORITY = 50
WINDOW_NS, WINDOW_CPU_NS = 10_000_000, 8_000_000
CLIENTS_MAX = 16
REQUEST_BYTES_MAX = 16 * 1024
_GONE = select.EPOLLERR | select.EPOLLHUP


class Direction:
    """One way of a link: frames are read from `source`, shaped, and written to `target` (TAP descriptors)."""

    __slots__ = ("dropped_write", "shaper", "source", "target")

    def __init__(self, shaper: Shaper, *, source: int, target: int) -> None:
        self.shaper = shaper
        self.source = source
        self.target = target
        self.dropped_write = 0

    def take(self) -> bool:
        """Read what has arrived, a batch at most. False if the device is gone for good."""
        try:
            for _ in range(BATCH_FRAMES):
                frame = os.read(self.source, FRAME_BYTES_MAX)
                self.shaper.offer(frame, now=time.monotonic_ns())
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def give(self, now: int) -> None:
        """Write what is due, a batch at most."""
        for frame in self.shaper.release(now=now, frames_max=BATCH_FRAMES):
            try:
                os.write(self.target, frame)
            except OSError:  # the interface is down or gone: the frame is lost there, as on any such link
                self.dropped_write += 1

    def stats(self) -> dict[str, Any]:
        """The counters, as the control socket gives them."""
        packets, size = self.shaper.queued()
        return {
            **asdict(self.shaper.counters),
            "dropped_write": self.dropped_write,
            "queued_packets": packets,
            "queued_bytes": size,
        }


class Restraint:
    """Keeps a flooded relay from taking a processor for itself, as a real-time process could: 8 of 10 ms at most.

    The kernel's own limit (sched_rt_runtime_us, 950 ms a second) would stop it for 50 ms on end.
    """

    __slots__ = ("_used", "_window")

    def __init__(self) -> None:
        self._window, self._used = time.monotonic_ns(), time.thread_time_ns()

    def pause_if_needed(self) -> None:
        """Sleep until the window ends if its share of processor time is used up."""
        now = time.monotonic_ns()
        if now - self._window < WINDOW_CPU_NS:  # it cannot have used more than has passed
            return
        used = time.thread_time_ns()
        if now - self._window >= WINDOW_NS:
            self._window, self._used = now, used
        elif used - self._used >= WINDOW_CPU_NS:
            time.sleep((self._window + WINDOW_NS - now) / 1e9)


class Control:
    """The control socket and its clients, as far as the relay's loop has something for them."""

    def __init__(self, path: str, *, epoll: select.epoll, answer: Callable[[bytes], dict[str, Any]]) -> None:
        self._path = path
        self._epoll = epoll
        self._answer = answer
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}
        self._listener = _listen(path)
        epoll.register(self._listener, select.EPOLLIN)

    def handle(self, fd: int) -> None:
        """Something has happened on a descriptor of the control socket."""
        if fd == self._listener.fileno():
            self._accept()
        elif not self._serve(*self._clients[fd]):
            client, _ = self._clients.pop(fd)
            self._epoll.unregister(fd)
            client.close()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        Path(self._path).unlink(missing_ok=True)
        self._listener.close()
        for client, _ in self._clients.values():
            client.close()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # the client has gone meanwhile, or there are too many descriptors
            return
        if len(self._clients) == CLIENTS_MAX:
            client.close()
            return
        client.setblocking(False)
        self._clients[client.fileno()] = (client, bytearray())
        self._epoll.register(client, select.EPOLLIN)

    def _serve(self, client: socket.socket, pending: bytearray) -> bool:
        """Answer the whole lines that have come. False if the client has gone, or sends or reads as none should."""
        try:
            chunk = client.recv(REQUEST_BYTES_MAX)
            *lines, rest = (pending + chunk).split(b"\n")
            for line in lines:
                client.sendall(json.dumps(self._answer(bytes(line))).encode() + b"\n")
        except OSError:
            return False
        pending[:] = rest
        return bool(chunk) and len(rest) <= REQUEST_BYTES_MAX


class Relay:
    """All links of one configuration, and the loop that serves them."""

    def __init__(self, config: Config, *, realtime: bool) -> None:
        self._realtime = realtime
        self._wakeups = 0
        self._links = {link.name: _open(link, seed=config.seed) for link in config.links}
        self._directions = [direction for pair in self._links.values() for direction in pair]
        self._by_source = {direction.source: direction for direction in self._directions}
        self._epoll = select.epoll()
        for source in self._by_source:
            self._epoll.register(source, select.EPOLLIN)
        self._timer = Timer()
        self._epoll.register(self._timer.fd, select.EPOLLIN)
        self._control = Control(config.control, epoll=self._epoll, answer=self._answer)

    def run(self, stop: socket.socket) -> None:
        """Carry frames until `stop` is readable."""
        self._epoll.register(stop, select.EPOLLIN)
        restraint = Restraint()
        armed: int | None = None
        while True:
            due = self._give(time.monotonic_ns())
            if due != armed:  # setting a timer costs as much as a packet
                self._timer.arm(due)
                armed = due
            events = self._epoll.poll()
            self._wakeups += 1
            for fd, event in events:
                if fd == stop.fileno():
                    return
                self._handle(fd, event)
            restraint.pause_if_needed()

    def close(self) -> None:
        """Remove the control socket. The devices go with the process."""
        self._control.close()

    def _handle(self, fd: int, event: int) -> None:
        direction = self._by_source.get(fd)
        if direction is not None:
            if event & _GONE or not direction.take():
                self._epoll.unregister(fd)  # else its error would wake the loop for ever
        elif fd != self._timer.fd:
            self._control.handle(fd)

    def _give(self, now: int) -> int | None:
        """Write what is due on all links. When the next frame is due; None if nothing is inside."""
        soonest: int | None = None
        for direction in self._directions:
            due = direction.shaper.next_due()
            if due is None:
                continue
            if due <= now:
                direction.give(now)
                due = direction.shaper.next_due()
            if due is not None and (soonest is None or due < soonest):
                soonest = due
        return soonest

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            return {"error": f"not JSON: {error}"}
        match request:
            case {"op": "stats"}:
                return self._stats()
            case {"op": "set"}:
                try:
                    self._change(parse_change(request))
                except RelayError as error:
                    return {"error": str(error)}
                return {"ok": True}
        return {"error": 'op must be "stats" or "set"'}

    def _stats(self) -> dict[str, Any]:
        links = {name: {"a_to_b": there.stats(), "b_to_a": back.stats()} for name, (there, back) in self._links.items()}
        return {"realtime": self._realtime, "wakeups": self._wakeups, "links": links}

    def _change(self, change: Change) -> None:
        if change.link not in self._links:
            raise RelayError(f"no link {change.link!r}; there are {', '.join(self._links)}")
        for direction in self._links[change.link]:
            if change.rtt_ms is not None:
                direction.shaper.set_delay(_one_way_ns(change.rtt_ms))
            if change.rate_bps is not None:
                direction.shaper.set_rate(change.rate_bps, now=time.monotonic_ns())
            if change.loss is not None:
                direction.shaper.set_loss(change.loss)


def _open(link: Link, *, seed: int) -> tuple[Direction, Direction]:
    a, b = (open_tap(netns=end.netns, ifname=end.ifname, mtu=link.mtu) for end in (link.a, link.b))

    def shaper(way: str) -> Shaper:
        delay_ns = _one_way_ns(link.rtt_ms)
        return Shaper(delay_ns=delay_ns, rate_bps=link.rate_bps, loss=link.loss, seed=f"{seed}/{link.name}/{way}")

    return Direction(shaper("a_to_b"), source=a, target=b), Direction(shaper("b_to_a"), source=b, target=a)


def _one_way_ns(rtt_ms: float) -> int:
    return round(rtt_ms * 500_000)


def _listen(path: str) -> socket.socket:
    try:
        listener = listen(path, another="another relay listens there: stop it, or choose another path")
    except OSError as error:
        words = f"cannot listen there: {error.strerror}" if error.strerror else str(error)
        raise RelayError(f"{path}: {words}") from error
    listener.setblocking(False)
    return listener


def _become_realtime() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError:
        return False
    return True


def main(arguments: list[str]) -> int:
    """Run the relay: 0 after SIGTERM or SIGINT, 2 (and a line on stderr) if it could not start."""
    if len(arguments) != 1:
        print("usage: python -m entourage.lab.relay CONFIG.json", file=sys.stderr)  # noqa: T201
        return 2
    stop, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # the loop sees it on the wakeup descriptor
    try:
        relay = Relay(load_config(Path(arguments[0])), realtime=_become_realtime())
    except RelayError as error:
        print(f"relay: {error}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        gc.collect()
        gc.freeze()
        gc.disable()  # nothing here makes cycles, and a collection would be heard as jitter
        print("ready", flush=True)  # noqa: T201
        relay.run(stop)
    finally:
        relay.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
