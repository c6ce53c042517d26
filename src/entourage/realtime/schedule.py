"""An exact schedule of reservations that always want all of their budgets: the judge over what `fitting` lets pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from entourage.model.realtime import Reservation


@dataclass(slots=True)
class _Job:
    """A period's budget of the thread of that index. Times in µs."""

    index: int
    released: int
    deadline: int
    left: int


Rank = Callable[[_Job], tuple[int, int]]


def _by_deadline(job: _Job) -> tuple[int, int]:
    return job.deadline, job.index


def _by_index(job: _Job) -> tuple[int, int]:
    return job.index, job.released


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a schedule did: the longest response of each thread in µs, and which missed a deadline first, if any."""

    responses: list[int]
    missed: int | None


def run_edf(
    reservations: Sequence[Reservation], *, cpus: int = 1, until_us: int, offsets_us: Sequence[int] = ()
) -> Ran:
    """Earliest deadline first on `cpus` CPUs, threads on any of them, preemption for free.

    Thread i first wants to run at `offsets_us[i]`, 0 without offsets. Periods that begin before `until_us` count.
    """
    return _run(reservations, _by_deadline, cpus=cpus, until_us=until_us, offsets_us=offsets_us)


def run_fixed(reservations: Sequence[Reservation], *, until_us: int, offsets_us: Sequence[int] = ()) -> Ran:
    """Fixed priorities on one CPU, the first of `reservations` has the highest; else as `run_edf`."""
    return _run(reservations, _by_index, cpus=1, until_us=until_us, offsets_us=offsets_us)


def _run(
    reservations: Sequence[Reservation], rank: Rank, *, cpus: int, until_us: int, offsets_us: Sequence[int]
) -> Ran:
    releases = list(offsets_us) or [0] * len(reservations)
    responses = [0] * len(reservations)
    ready: list[_Job] = []
    now = 0
    while ready or any(at < until_us for at in releases):
        for index, each in enumerate(reservations):
            if releases[index] <= now and releases[index] < until_us:
                due = releases[index] + each.period_us
                ready.append(_Job(index=index, released=releases[index], deadline=due, left=each.budget_us))
                releases[index] = due
        ready.sort(key=rank)
        running = ready[:cpus]
        coming = [at for at in releases if at < until_us]
        pause = min([job.left for job in running] + [at - now for at in coming])
        now += pause
        for job in running:
            job.left -= pause
            if not job.left:
                responses[job.index] = max(responses[job.index], now - job.released)
        ready = [job for job in ready if job.left]
        late = [job.index for job in ready if job.deadline <= now] + [
            job.index for job in running if not job.left and now > job.deadline
        ]
        if late:
            return Ran(responses=responses, missed=min(late))
    return Ran(responses=responses, missed=None)
