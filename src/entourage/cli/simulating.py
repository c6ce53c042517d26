"""`entourage simulate`: moves in a world that is not there, with everything going wrong."""

import secrets

from rich.text import Text

from entourage.cli.commands import Simulate
from entourage.cli.exits import Exit, UsageError
from entourage.cli.output import show, show_json, table
from entourage.cli.telling import telling
from entourage.operations.tell import Tell
from entourage.twin import simulate as run_seed
from entourage.twin.many import Progress, Tally, simulate_all, simulate_many

_SEED_BITS = 32
_TOLD_PARTS = 20  # how often progress is told


def simulate(wanted: Simulate) -> Exit:
    """Run one seed and print its log, or many and print those in which something was wrong."""
    if wanted.seed is not None:
        return _one(wanted.seed, as_json=wanted.as_json)
    if wanted.seeds < 1 and not wanted.exhaustive:
        raise UsageError("nothing to simulate: give --seeds a number of at least 1, or --exhaustive")
    first = secrets.randbits(_SEED_BITS) if wanted.first is None else wanted.first
    tallies: dict[str, Tally] = {}
    with telling(as_json=wanted.as_json) as tell:
        if wanted.seeds:
            tell.phase(f"simulating {wanted.seeds} seeds from {first}")
            tallies["seeds"] = simulate_many(first, wanted.seeds, progress=_progress(tell, "seeds"))
        if wanted.exhaustive:
            tell.phase("simulating every schedule of 1 to 4 members with one fault")
            tallies["schedules"] = simulate_all(progress=_progress(tell, "schedules"))
    violations = [violation for tally in tallies.values() for violation in tally.violations]
    if wanted.as_json:
        show_json(
            {
                "first_seed": first if wanted.seeds else None,
                **{name: _to_json(tally) for name, tally in tallies.items()},
                "violations": [{"run": each.name, "what": each.what, "log": each.log} for each in violations],
            }
        )
    else:
        for each in violations[:1]:
            show(*(Text(line) for line in each.log))
        told = [Text(f"{each.name}: {'; '.join(each.what)}", style="bold red") for each in violations]
        head = ("", "runs", "violated", "committed", "rolled back", "runs/s")
        show(*told, table(head, [_row(named) for named in tallies.items()]))
        again = next((each.seed for each in violations if each.seed is not None), None)
        if again is not None:
            show(Text(f"again: entourage simulate --seed {again}"))
    return Exit.FAILED if violations else Exit.DONE


def _one(seed: int, *, as_json: bool) -> Exit:
    run = run_seed(seed)
    if as_json:
        show_json(
            {
                "seed": seed,
                "outcome": run.outcome,
                "violations": run.violations,
                "virtual_s": run.virtual_s,
                "longest_outage_s": run.outage_s,
                "sessions_reset": run.sessions_reset,
                "log": run.log,
            }
        )
    else:
        show(*(Text(line) for line in run.log))
        end = f"seed {seed}: {run.outcome} after {run.virtual_s:.3f} virtual seconds"
        end = f"{end}; users were without service for at most {run.outage_s:.3f} s in a row"
        show(Text(end, style="bold"), *(Text(each, style="bold red") for each in run.violations))
    return Exit.FAILED if run.violations else Exit.DONE


def _progress(tell: Tell, what: str) -> Progress:
    told: dict[str, int] = {}

    def progress(done: int, whole: int, violated: int) -> None:
        part = _TOLD_PARTS * done // whole
        if told.get(what) != part:
            told[what] = part
            tell.step(f"{what}, {violated} violated", done, whole)

    return progress


def _to_json(tally: Tally) -> dict[str, object]:
    return {
        "runs": tally.runs,
        "outcomes": dict(sorted(tally.outcomes.items())),
        "recoveries": tally.recoveries,
        "longest_outage_s": tally.longest_outage_s,
        "sessions_reset": tally.sessions_reset,
        "runs_per_s": round(tally.runs_per_s(), 1),
    }


def _row(named: tuple[str, Tally]) -> tuple[object, ...]:
    name, tally = named
    ends = (tally.outcomes["committed"], tally.outcomes["rolled-back"])
    return (name, tally.runs, len(tally.violations), *ends, f"{tally.runs_per_s():.0f}")
