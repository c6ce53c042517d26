"""`make bench-chaos`: moves that are interrupted in every way, in the simulated world and in a real lab.

Writes out/bench/chaos.json: the simulation's figures, every move of the lab with what was done to it and how it ended,
the machine, and a summary.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from entourage.bench.writing import keep, show
from entourage.chaos.cases import Case, faults, kills
from entourage.chaos.lab import Lab
from entourage.lab.accel import usable_accel
from entourage.operations.examples import example
from entourage.operations.labs import take_down
from entourage.operations.machine import machine_json
from entourage.operations.users import Load
from entourage.twin.chaos import chaos_figures

SCHEMA = "entourage.bench-chaos/1"
LAB = "chaos"
_RUNS = 10
_KILLS_A_RUN = 4
_LOAD = Load(sessions=300)
# The rate: so that a move is over sooner; what it carries is the same.
_OPTIONS = ("--rate", "500 Mbit/s", "--service", str(example("shop-moves-back.yaml")))

Document = dict[str, Any]


def summary(simulated: Document, cases: Sequence[Document]) -> Document:
    """What is judged. Outages in seconds: the longest gap of a user's packet stream, by the state it happened in."""
    outages: dict[str, list[float]] = {}
    for case in cases:
        outages.setdefault(case["state"] or "random", []).append(case["outage_s"])
    return {
        "seeds": simulated["seeds"],
        "violations": len(simulated["violations"]) + len(simulated["exhaustive_violations"]),
        "seeds_per_s": simulated["seeds_per_s"],
        "mutants": simulated["mutants"],
        "mutants_caught": simulated["mutants_caught"],
        "lab_kills": sum(case["is_kill"] for case in cases),
        "lab_faults": sum(not case["is_kill"] for case in cases),
        "halfway": sum(case["ended"] == "halfway" for case in cases),
        "sessions_reset": sum(case["sessions"]["reset"] for case in cases if not case["kills"]),
        "left_over": sum(len(case["left_over"]) for case in cases),
        "disk_problems": sum(len(case["disks"]) for case in cases),
        "longest_outage_s": {state: max(each) for state, each in outages.items()},
        "median_outage_s": {state: statistics.median(each) for state, each in outages.items()},
        "ended": {end: sum(case["ended"] == end for case in cases) for end in sorted({c["ended"] for c in cases})},
    }


async def in_lab(cases: Iterable[Case], out: Path, *, kept: Callable[[Sequence[Document]], None]) -> list[Document]:
    """Each case in a lab that is whole when it begins. After each all results so far are kept: the next may hang."""
    results = []
    await take_down(LAB)
    async with Lab(LAB, load=_LOAD, users=out / "users", options=_OPTIONS) as lab:
        for number, case in enumerate(cases, 1):
            result = await lab.try_case(case)
            results.append(result)
            await asyncio.to_thread(kept, results)
            _say(number, result)
    return results


def _say(number: int, case: Document) -> None:
    odd = "; ".join((*case["left_over"], *case["disks"]))
    print(  # noqa: T201
        f"{number:3} {case['name']:44} {case['outcome']:12} at {case['ended']:8} outage {case['outage_s']:6.3f} s"
        f"  reset {case['sessions']['reset']}  took {case['took_s']:.0f} s  {odd or case['reason'] or ''}",
        flush=True,
    )


def main() -> int:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="entourage.bench.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=_RUNS, help=f"a run: {_KILLS_A_RUN} kills, a tenth of other faults")
    parser.add_argument("--only", help="cases of the lab with this in their names")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    arguments = parser.parse_args()
    others = faults()
    cases = [*others[: len(others) * arguments.runs // _RUNS], *kills(_KILLS_A_RUN * arguments.runs, seed=1)]
    if arguments.only:
        cases = [case for case in cases if arguments.only in case.name]
    simulated = chaos_figures(seeds=arguments.seeds)
    machine = machine_json(accel=usable_accel())

    def document(results: Sequence[Document]) -> Document:
        return {
            "schema": SCHEMA,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": machine,
            "simulation": simulated,
            "summary": summary(simulated, results),
            "lab": list(results),
        }

    path = arguments.out / "chaos.json"
    keep(document([]), path)
    results = asyncio.run(in_lab(cases, arguments.out, kept=lambda results: keep(document(results), path)))
    show(document(results), path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
