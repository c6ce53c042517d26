"""The figures of the simulated world: seeds, every schedule, and the planted faults that it finds."""

import os
from typing import Any

from entourage.twin.many import Progress, simulate_all, simulate_many
from entourage.twin.mutants import MUTANTS, caught_at

_MUTANT_SEEDS = 1000  # that are tried for each planted fault before the schedules


def chaos_figures(
    *, seeds: int, first: int = 0, most: int = 4, workers: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Run `seeds` seeds from `first` on, every schedule of 1 to `most` members, and every mutant.

    `violations` and `exhaustive_violations` are names of runs with what was wrong, `mutants_caught` how many of
    `mutants` were shown, `not_caught` the others' names. Durations in seconds, virtual where the name says so.
    """
    drawn = simulate_many(first, seeds, workers=workers, progress=progress)
    every = simulate_all(most=most, workers=workers, progress=progress)
    caught = {mutant.name: caught_at(mutant, seeds=_MUTANT_SEEDS) for mutant in MUTANTS}
    return {
        "seeds": drawn.runs,
        "first_seed": first,
        "violations": [{"run": each.name, "what": list(each.what)} for each in drawn.violations],
        "seeds_per_s": round(drawn.runs_per_s(), 1),
        "took_s": round(drawn.took_s, 1),
        "cores": workers or len(os.sched_getaffinity(0)),
        "outcomes": dict(sorted(drawn.outcomes.items())),
        "recoveries": drawn.recoveries,
        "calls": drawn.calls,
        "virtual_s": round(drawn.virtual_s),
        "longest_outage_virtual_s": round(drawn.longest_outage_s, 3),
        "sessions_reset": drawn.sessions_reset,
        "exhaustive_schedules": every.runs,
        "exhaustive_violations": [{"run": each.name, "what": list(each.what)} for each in every.violations],
        "mutants": len(caught),
        "mutants_caught": sum(at is not None for at in caught.values()),
        "not_caught": [name for name, at in caught.items() if at is None],
        "caught_at": caught,
    }
