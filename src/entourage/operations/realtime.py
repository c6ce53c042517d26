"""Real-time CPU of a service's members: promised, applied, and what was seen of it for a while."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from entourage.lab.place import Place
from entourage.model.ids import HostId, MemberId, SiteId, site_of
from entourage.operations.packets import Packets, figures, window
from entourage.ports.errors import DriverError
from entourage.ports.hypervisor import PromisedThread
from entourage.wiring import Wired, wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A thread after it was watched for a while. `ran`, `waited`: shares of that time, on a CPU and for one."""

    member: MemberId
    host: HostId
    thread: PromisedThread
    ran: float
    waited: float

    def verdict(self) -> str | None:
        """What is not as it was promised; None if all is."""
        thread = self.thread
        if thread.found is None:
            return "it has ended"
        if not thread.is_kept:
            return f"promised {thread.wanted}, applied {thread.found}"
        if self.ran > float(thread.promise.share):
            return f"it used {self.ran:.1%} of a CPU, more than the {float(thread.promise.share):.1%} it is promised"
        if self.waited > 1 - float(thread.promise.share):
            return f"it waited for a CPU {self.waited:.1%} of the time: it has missed budgets"
        return None

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "member": self.member,
            "host": self.host,
            "thread": self.thread.name,
            "budget_us": self.thread.promise.budget_us,
            "period_us": self.thread.promise.period_us,
            "promised": self.thread.wanted,
            "applied": self.thread.found,
            "ran": round(self.ran, 5),
            "waited": round(self.waited, 5),
            "verdict": self.verdict(),
            "instead": self.thread.instead,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """What packets from the edge to a server and back took, as `packets.figures`; `promised_s`: by the service."""

    figures: Mapping[str, Any]
    promised_s: float | None

    def verdict(self) -> str | None:
        """What is longer than it was promised; None if nothing is, or nothing was promised."""
        found = self.figures["p999_ms"]
        if self.promised_s is None or found is None or found <= self.promised_s * 1000:
            return None
        return f"0.1 % of the packets took longer than {found:g} ms, and {self.promised_s * 1000:g} ms are promised"


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeView:
    """All promises of a service: the threads, members that run without theirs, and hosts that cannot keep theirs."""

    threads: tuple[Watched, ...]
    problems: tuple[str, ...]
    forwarded: Forwarded | None = None

    @property
    def notes(self) -> list[str]:
        """What is kept otherwise than the host would have it first, a line each."""
        told = {f"{w.host} has taken its fallback: {w.thread.instead}" for w in self.threads if w.thread.instead}
        return sorted(told)

    @property
    def verdicts(self) -> list[str]:
        """Everything that is not as it was promised, a line each."""
        told = [(watched, watched.verdict()) for watched in self.threads]
        late = self.forwarded.verdict() if self.forwarded else None
        threads = [f"{w.member} on {w.host}, {w.thread.name}: {said}" for w, said in told if said]
        return [*self.problems, *threads, *([late] if late else [])]


async def watch(place: Place, *, for_s: float, probes: bool = False) -> RealtimeView:
    """What was promised in the lab, and what was seen of it for `for_s` seconds; `probes`: of packets as well."""
    wired = wire(place, only_look=True)
    forwarded: Forwarded | None = None
    try:
        before, _ = await _look(wired)
        began = time.monotonic()
        if probes:
            site = next((site_of(host) for host, member, _ in before if member in place.service.chain[0]), None)
            seen = await _forwarded(place, site or place.service.home, for_s=for_s)
            forwarded = Forwarded(figures=seen, promised_s=place.service.latency_p999_s)
        else:
            await asyncio.sleep(for_s)
        watched_us = (time.monotonic() - began) * 1e6
        after, problems = await _look(wired)
    finally:
        await wired.close()
    threads = []
    for key, thread in after.items():
        then = before.get(key, thread)
        ran, waited = thread.ran_us - then.ran_us, thread.waited_us - then.waited_us
        threads.append(
            Watched(host=key[0], member=key[1], thread=thread, ran=ran / watched_us, waited=waited / watched_us)
        )
    problems += _without(place, after)
    return RealtimeView(threads=tuple(threads), problems=tuple(problems), forwarded=forwarded)


async def _forwarded(place: Place, site: SiteId, *, for_s: float) -> Mapping[str, Any]:
    with TemporaryDirectory(prefix="entourage-packets-") as folder:
        packets = Packets(place, Path(folder), [site])
        async with packets:
            start, end = await window(for_s)
        return figures(packets.trips(site, start=start, end=end))


async def _look(wired: Wired) -> tuple[dict[tuple[HostId, MemberId, str], PromisedThread], list[str]]:
    found: dict[tuple[HostId, MemberId, str], PromisedThread] = {}
    problems = []
    own = {member.id for member in wired.place.service.members}
    for host in wired.place.hosts():
        try:
            promises: Mapping[MemberId, Sequence[PromisedThread]] = await wired.hypervisor.promises(host)
        except DriverError as error:
            problems.append(str(error))
            continue
        found |= {
            (host, member, thread.name): thread
            for member, threads in promises.items()
            if member in own
            for thread in threads
        }
    return found, problems


def _without(place: Place, found: Mapping[tuple[HostId, MemberId, str], PromisedThread]) -> list[str]:
    """Members that are promised something of which no host knows."""
    known = {member for _, member, _ in found}
    return [
        f"{m.id} has nothing of what it is promised" for m in place.service.members if m.realtime and m.id not in known
    ]
