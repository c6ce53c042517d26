"""The real-time admission without any machine: how fast it is, and whether an exact schedule proves it wrong."""

import random
import time
from dataclasses import dataclass

from entourage.model.ids import HostId, MemberId, SiteId
from entourage.model.realtime import Policy, Promise, RealtimeCpus, Reservation
from entourage.model.world import Host, Member, Role
from entourage.planner import HostLoad
from entourage.planner.placing import place
from entourage.realtime import Kept, keep, priorities
from entourage.realtime.schedule import run_edf, run_fixed

MEMBERS, HOSTS, CLASSES = 10_000, 1_000, 12
_PERIODS_US = (400, 500, 800, 1000, 2000)  # all that can happen has happened after 4000
_UNTIL_US, _OFFSET_MAX_US = 8000, 1000
_GIB = 1 << 30


def admission_s(seed: int = 1) -> float:
    """Seconds of CPU to place 10,000 members of 12 classes on 1,000 hosts, each with 4 CPUs for real time."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    classes = [_class(chance, f"class{number}") for number in range(CLASSES)]
    site = SiteId("west")
    realtime = RealtimeCpus(cpus=(12, 13, 14, 15))
    hosts = [
        Host(id=HostId(f"{site}/h{number}"), memory=64 * _GIB, cpu=16.0, realtime=realtime) for number in range(HOSTS)
    ]
    members = [
        Member(
            id=MemberId(f"m{number}"),
            role=chance.choice(list(Role)),
            memory=chance.choice([1, 2, 4]) * _GIB,
            cpu=1.0,
            interfaces=(),
            realtime=chance.choice(classes),
        )
        for number in range(MEMBERS)
    ]
    loads = {host.id: HostLoad(memory=0, cpu=0.0) for host in hosts}
    began = time.process_time()
    placed = place(members, hosts, loads=loads)
    took = time.process_time() - began
    assert len(placed) == MEMBERS
    return took


def _class(chance: random.Random, name: str) -> Promise:
    period = chance.choice([1000, 2000, 5000, 10_000])
    cpu, io = (Reservation(budget_us=chance.randint(period // 50, period // 5), period_us=period) for _ in range(2))
    return Promise(cpu=cpu, io=io, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Exact simulations of random sets: how many were admitted, and how many of those missed a deadline."""

    sets: int
    admitted: int
    missed: int


def simulate(sets: int, *, seed: int = 1) -> Simulated:
    """Random sets on random hosts, released at random offsets; each that is admitted is run, every thread at once."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    admitted = missed = 0
    for _ in range(sets):
        host = RealtimeCpus(
            cpus=tuple(range(chance.randint(1, 3))),
            policy=chance.choice(list(Policy)),
        )
        promises = {MemberId(f"m{number}"): _small(chance) for number in range(chance.randint(1, 4))}
        kept = keep(host, promises)
        if isinstance(kept, Kept):
            admitted += 1
            missed += _misses(host, promises, kept, chance)
    return Simulated(sets=sets, admitted=admitted, missed=missed)


def _small(chance: random.Random) -> Promise:
    period = chance.choice(_PERIODS_US)
    cpu, io = (Reservation(budget_us=chance.randint(1, period // 2), period_us=period) for _ in range(2))
    return Promise(cpu=cpu, io=io)


def _misses(host: RealtimeCpus, promises: dict[MemberId, Promise], kept: Kept, chance: random.Random) -> bool:
    threads = [
        (cpu, thread, rank, chance.randint(0, _OFFSET_MAX_US))
        for member, promise in promises.items()
        for cpu, thread, rank in zip(kept.cpus[member], promise.threads, priorities(promise), strict=True)
    ]
    if host.policy is Policy.DEADLINE:
        reservations, offsets = [thread for _, thread, *_ in threads], [offset for *_, offset in threads]
        ran = run_edf(reservations, cpus=len(host.cpus), until_us=_UNTIL_US, offsets_us=offsets)
        return ran.missed is not None
    for cpu in host.cpus:
        here = [(thread, rank, offset) for pinned, thread, rank, offset in threads if pinned == cpu]
        chance.shuffle(here)  # threads of one priority may come in any order
        here.sort(key=lambda each: -each[1])
        ran = run_fixed([thread for thread, *_ in here], until_us=_UNTIL_US, offsets_us=[offset for *_, offset in here])
        if ran.missed is not None:
            return True
    return False
