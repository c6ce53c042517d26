"""How one host keeps its promises: every thread's CPU and the longest it may wait, or why it cannot keep them all."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from entourage.model.ids import MemberId
from entourage.model.realtime import PERIOD_MIN_US, Policy, Promise, RealtimeCpus, Reservation
from entourage.realtime.fitting import global_edf_excess, response_time

# Of SCHED_FIFO's 1 to 99: the kernel's threads that serve interrupts have 50, what guards and moves use is below.
_HIGHEST, _LOWEST = 40, 10
_LEVELS_AN_OCTAVE = 2  # from 100 µs to 4 s: 31 levels
_ROUNDING = 1e-9  # of sums of shares as floating point; nearer to a limit than this they are added up exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """All promises are kept. For each member and each of its threads, in the order of `Promise.threads`.

    `cpus`: the one it is pinned to, None for any. `responses_us`: the longest that its budget may take to be had.
    """

    cpus: Mapping[MemberId, tuple[int | None, ...]]
    responses_us: Mapping[MemberId, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """They are not. `left`: in CPUs, for real time, without `member`, for whom there is no room.

    `why`: what stands against it beside that, if anything does.
    """

    member: MemberId
    left: Fraction
    needs: Fraction
    why: str | None = None

    def words(self, host: str) -> str:
        """In a sentence."""
        left = f"{host} has {max(float(self.left), 0):.3g} of a CPU left for real time, {self.member} needs"
        return f"{left} {float(self.needs):.3g}" + (f"; {self.why}" if self.why else "")


@lru_cache(maxsize=1024)
def priority(period_us: int) -> int:
    """The SCHED_FIFO priority for a period: the shorter the higher, some periods alike share one.

    Source: rate-monotonic order, Liu and Layland, 1973.
    """
    level = math.floor(_LEVELS_AN_OCTAVE * math.log2(max(period_us, PERIOD_MIN_US) / PERIOD_MIN_US))
    return max(_LOWEST, _HIGHEST - level)


def priorities(promise: Promise) -> tuple[int, int]:
    """Of its threads. The I/O thread comes first: it works for moments, and the other waits for what it brings."""
    return priority(promise.cpu.period_us), priority(promise.io.period_us) + 1


def keep(host: RealtimeCpus, promises: Mapping[MemberId, Promise]) -> Kept | Shortage:
    """Whether `host` can keep all of them, and how, by a `Keeper`."""
    keeper = Keeper(host)
    for member in sorted(promises, key=lambda member: _order(member, promises[member])):
        if not keeper.add(member, promises[member]):
            others = sum((promise.share for other, promise in promises.items() if other != member), Fraction(0))
            left = len(host.cpus) * host.limit - others
            return Shortage(member=member, left=left, needs=promises[member].share, why=_why(host, promises[member]))
    return keeper.kept()


def _why(host: RealtimeCpus, promise: Promise) -> str | None:
    strangers = [pin for pin in promise.pins if pin is not None and pin not in host.cpus]
    if strangers:
        return f"it is to have CPU {strangers[0]}, and CPU {', '.join(map(str, host.cpus))} are for real time there"
    if host.policy is Policy.DEADLINE and not promise.is_free:
        return "its threads are to have certain CPUs, and with SCHED_DEADLINE they have to be free to run on all"
    return None


class Keeper:
    """A host and its promises so far. What it keeps depends on what was promised, and not on the order of that.

    With SCHED_FIFO: first fit, the largest member first, its largest thread first, onto a CPU where no thread's
    response time is above its period (`response_time`) and the shares are not above the host's limit. As long as little
    is promised it is only noted that this will succeed (`_Easy`). With SCHED_DEADLINE: `global_edf_excess`.
    """

    def __init__(self, host: RealtimeCpus) -> None:
        self.promised: dict[MemberId, Promise] = {}
        self._host = host
        self._easy = _Easy(host)
        self._schedule: _Anywhere | _Pinned | None = _schedule(host)  # None: to be made when it is asked for
        self._last: _Order | None = None

    @property
    def left(self) -> Fraction:
        """What is not promised of what may be, in CPUs; some of it on one, some on another."""
        promised = sum((promise.share for promise in self.promised.values()), Fraction(0))
        return len(self._host.cpus) * self._host.limit - promised

    def add(self, member: MemberId, promise: Promise) -> bool:
        """Promise this, too, if all can be kept then; else nothing changes."""
        order = _order(member, promise)
        if self._easy.takes(promise):
            self._schedule = None
        elif self._schedule is None or (self._last is not None and order < self._last):
            anew = _scheduled(self._host, {**self.promised, member: promise})
            if anew is None:
                return False
            self._schedule = anew
        elif not self._schedule.add(member, promise):
            return False
        self._easy.note(promise)
        self._last = order if self._last is None else max(order, self._last)
        self.promised[member] = promise
        return True

    def kept(self) -> Kept:
        """How all are kept: spread over the CPUs if that is possible, so that each waits for few others."""
        made = _scheduled(self._host, self.promised, spread=True) or _scheduled(self._host, self.promised)
        assert made is not None
        return made.kept()


def _schedule(host: RealtimeCpus, *, spread: bool = False) -> "_Anywhere | _Pinned":
    return _Anywhere(host) if host.policy is Policy.DEADLINE else _Pinned(host, spread=spread)


def _scheduled(
    host: RealtimeCpus, promises: Mapping[MemberId, Promise], *, spread: bool = False
) -> "_Anywhere | _Pinned | None":
    """All of them, the largest first; None if not all are kept."""
    made = _schedule(host, spread=spread)
    ordered = sorted(promises, key=lambda member: _order(member, promises[member]))
    return made if all(made.add(member, promises[member]) for member in ordered) else None


_Order = tuple[bool, float, MemberId]


def _order(member: MemberId, promise: Promise) -> _Order:
    """Those with a wish come first: the others can go elsewhere."""
    return promise.is_free, -promise.rounded, member


class _Easy:
    """So little is promised to pinned threads that each finds a CPU, in whichever order they come.

    A thread of share u that no CPU takes has more than ln 2 - u beside it on each of the m CPUs: less would be kept by
    the bound of Liu and Layland, 1973, theorem 5. So none is refused while the sum of the shares is at most
    m ln 2 - (m - 1) u for the largest u. The bound is for rate-monotonic order: no two periods share a priority.
    """

    def __init__(self, host: RealtimeCpus) -> None:
        self._cpus = len(host.cpus)
        self._bound = min(math.log(2), float(host.limit)) - _ROUNDING
        self._total, self._largest = 0.0, 0.0
        self._periods: dict[int, int] = {}  # by priority
        self._is_easy = host.policy is Policy.FIFO

    def takes(self, promise: Promise) -> bool:
        """Whether this, too, is little."""
        if not self._is_easy or not promise.is_free:
            return False
        largest = max(self._largest, *(thread.rounded for thread in promise.threads))
        if self._total + promise.rounded > self._cpus * self._bound - (self._cpus - 1) * largest:
            return False
        asked = list(zip(priorities(promise), promise.threads, strict=True))
        periods = {**self._periods, **{rank: thread.period_us for rank, thread in asked}}
        known = (*self._periods.items(), *((rank, thread.period_us) for rank, thread in asked))
        return all(periods[rank] == period for rank, period in known)

    def note(self, promise: Promise) -> None:
        """It was promised."""
        self._is_easy &= promise.is_free
        self._total += promise.rounded
        for rank, thread in zip(priorities(promise), promise.threads, strict=True):
            self._largest = max(self._largest, thread.rounded)
            self._is_easy &= self._periods.setdefault(rank, thread.period_us) == thread.period_us


class _Anywhere:
    """SCHED_DEADLINE: the kernel lets every thread run on any CPU."""

    def __init__(self, host: RealtimeCpus) -> None:
        self._host = host
        self._promises: dict[MemberId, Promise] = {}

    def add(self, member: MemberId, promise: Promise) -> bool:
        if not promise.is_free:
            return False  # the kernel refuses a deadline to a thread that may not run on all of them
        promises = {**self._promises, member: promise}
        threads = [thread for each in promises.values() for thread in each.threads]
        if global_edf_excess(threads, cpus=len(self._host.cpus), limit=self._host.limit):
            return False
        self._promises = promises
        return True

    def kept(self) -> Kept:
        return Kept(
            cpus={member: (None,) * len(promise.threads) for member, promise in self._promises.items()},
            responses_us={m: tuple(t.period_us for t in promise.threads) for m, promise in self._promises.items()},
        )


class _Pinned:
    """SCHED_FIFO: every thread on one CPU, the first that has room; or, `spread`, the one that has promised least."""

    def __init__(self, host: RealtimeCpus, *, spread: bool) -> None:
        self._cpus = [_Cpu(number, host.limit) for number in host.cpus]
        self._spread = spread
        self._chosen: dict[MemberId, list[tuple[_Cpu, int]]] = {}

    def add(self, member: MemberId, promise: Promise) -> bool:
        chosen: dict[int, tuple[_Cpu, int]] = {}
        threads, ranks = promise.threads, priorities(promise)
        for number in sorted(range(len(threads)), key=lambda number: (-threads[number].rounded, number)):
            cpus = sorted(self._cpus, key=lambda cpu: (cpu.promised, cpu.number)) if self._spread else self._cpus
            taken = [cpu for cpu, _ in chosen.values()] if promise.apart else []
            wanted = (cpu for cpu in cpus if promise.pins[number] in (None, cpu.number) and cpu not in taken)
            cpu = next((cpu for cpu in wanted if cpu.add(threads[number], ranks[number])), None)
            if cpu is None:
                for each, _ in reversed(chosen.values()):
                    each.take_back()
                return False
            chosen[number] = cpu, len(cpu.threads) - 1
        self._chosen[member] = [chosen[number] for number in range(len(threads))]
        return True

    def kept(self) -> Kept:
        return Kept(
            cpus={member: tuple(cpu.number for cpu, _ in each) for member, each in self._chosen.items()},
            responses_us={m: tuple(cpu.response(which) for cpu, which in each) for m, each in self._chosen.items()},
        )


class _Cpu:
    """One CPU and the threads that are pinned to it."""

    def __init__(self, number: int, limit: Fraction) -> None:
        self.number = number
        self.threads: list[Reservation] = []
        self._limit = limit
        self._rounded_limit = float(limit)
        self.promised = 0.0  # the sum of their shares
        self._priorities: list[int] = []

    def add(self, thread: Reservation, rank: int) -> bool:
        """Pin it here, if all of them are kept then; else nothing changes."""
        rounded = self.promised + thread.rounded
        if rounded > self._rounded_limit + _ROUNDING:
            return False
        self.threads.append(thread)
        self._priorities.append(rank)
        if self._is_within(rounded) and self._all_respond():
            self.promised = rounded
            return True
        self._drop()
        return False

    def take_back(self) -> None:
        """What was added last."""
        self.promised -= self.threads[-1].rounded
        self._drop()

    def response(self, which: int) -> int:
        """The longest that it takes until one of them has had its budget; they are kept, so there is one."""
        found = self._response(which)
        assert found is not None
        return found

    def _drop(self) -> None:
        self.threads.pop()
        self._priorities.pop()

    def _is_within(self, rounded: float) -> bool:
        if rounded < self._rounded_limit - _ROUNDING:
            return True
        return sum((thread.share for thread in self.threads), Fraction(0)) <= self._limit

    def _all_respond(self) -> bool:
        """The last one, and all that it may hold up: the others were looked at without it."""
        last = self._priorities[-1]
        return all(
            self._response(which) is not None for which, each in enumerate(self._priorities) if each <= last
        )  # fmt: skip

    def _response(self, which: int) -> int | None:
        """Another of the same priority is served first come, first served: it may be before."""
        own = self._priorities[which]
        above = [
            other
            for number, other in enumerate(self.threads)
            if number != which and self._priorities[number] >= own
        ]  # fmt: skip
        return response_time(self.threads[which], above)
