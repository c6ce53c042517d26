"""Many runs, on all cores: seeds, and every schedule of a small group with one fault."""

import gc
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TypeVar

from entourage.twin.exhaustive import Schedule, run_schedule, schedules
from entourage.twin.simulation import Run, simulate

_T = TypeVar("_T")

_CHUNK = 250  # runs that one process does before it tells
_COLLECT_EVERY = 50  # runs; tasks and their frames are cycles, and looking for them all the time costs a third

Progress = Callable[[int, int, int], None]  # runs done, runs in all, violated ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A run in which something was that may never be: its seed or schedule, and what. `log` is the whole story."""

    name: str  # "seed 17", or the schedule in words
    seed: int | None
    what: tuple[str, ...]
    log: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of many runs. Real seconds in `took_s`, virtual ones in the others."""

    runs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    calls: int = 0
    recoveries: int = 0
    sessions_reset: int = 0
    virtual_s: float = 0.0
    longest_outage_s: float = 0.0
    took_s: float = 0.0

    def add(self, run: Run, *, name: str, seed: int | None) -> None:
        """One more run."""
        self.runs += 1
        self.outcomes[run.outcome] += 1
        self.calls += run.calls
        self.recoveries += run.orchestrators - 1
        self.sessions_reset += run.sessions_reset
        self.virtual_s += run.virtual_s
        self.longest_outage_s = max(self.longest_outage_s, run.outage_s)
        if run.violations:
            self.violations.append(Violation(name=name, seed=seed, what=run.violations, log=run.log))

    def merge(self, other: "Tally") -> None:
        """Another process's runs."""
        self.runs += other.runs
        self.outcomes += other.outcomes
        self.violations += other.violations
        self.calls += other.calls
        self.recoveries += other.recoveries
        self.sessions_reset += other.sessions_reset
        self.virtual_s += other.virtual_s
        self.longest_outage_s = max(self.longest_outage_s, other.longest_outage_s)

    def runs_per_s(self) -> float:
        """Runs in a second of real time."""
        return self.runs / self.took_s if self.took_s else 0.0


def simulate_many(first: int, count: int, *, workers: int | None = None, progress: Progress | None = None) -> Tally:
    """The seeds from `first` on. With `workers` 1 in this process, else on so many (all cores if None)."""
    chunks = [range(start, min(start + _CHUNK, first + count)) for start in range(first, first + count, _CHUNK)]
    return _on_all_cores(_seeds, chunks, workers=workers, progress=progress)


def simulate_all(*, most: int = 4, workers: int | None = None, progress: Progress | None = None) -> Tally:
    """Every schedule of groups of 1 to `most` members with one fault; see `exhaustive`."""
    every = list(schedules(most))
    chunks = [every[start : start + _CHUNK] for start in range(0, len(every), _CHUNK)]
    return _on_all_cores(_schedules, chunks, workers=workers, progress=progress)


def _seeds(seeds: Sequence[int]) -> Tally:
    tally = Tally()
    for seed in _collecting(seeds):
        tally.add(simulate(seed), name=f"seed {seed}", seed=seed)
    return tally


def _schedules(some: Sequence[Schedule]) -> Tally:
    tally = Tally()
    for schedule in _collecting(some):
        tally.add(run_schedule(schedule), name=str(schedule), seed=None)
    return tally


def _collecting(items: Sequence[_T]) -> Iterator[_T]:
    """The items, with rubbish collected now and then instead of whenever Python feels like it."""
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()  # what is there already stays
    try:
        for number, item in enumerate(items, 1):
            yield item
            if number % _COLLECT_EVERY == 0:
                gc.collect()
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def _on_all_cores(
    work: Callable[[Sequence[_T]], Tally],
    chunks: Sequence[Sequence[_T]],
    *,
    workers: int | None,
    progress: Progress | None,
) -> Tally:
    began = time.perf_counter()
    total, whole = Tally(), sum(map(len, chunks))

    def done(part: Tally) -> None:
        total.merge(part)
        if progress is not None:
            progress(total.runs, whole, len(total.violations))

    workers = workers or len(os.sched_getaffinity(0))
    if workers == 1 or len(chunks) == 1:
        for chunk in chunks:
            done(work(chunk))
    else:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            for future in as_completed([pool.submit(work, chunk) for chunk in chunks]):
                done(future.result())
    total.violations.sort(key=lambda violation: (violation.seed or 0, violation.name))
    total.took_s = time.perf_counter() - began
    return total
