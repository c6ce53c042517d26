"""`make bench-rules`: groups that follow, sites that die, links that are cut, and how long decisions take.

In the lab: a server is migrated by hand with plain QMP and the rest of its group follows; the site with everything is
killed and the service comes up at the other one; the link between the sites is cut and nothing may happen. Decisions
over 10,000 services are made in a world made up for it. Writes out/bench/rules.json.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entourage.bench.deciding import measure_decisions
from entourage.bench.following import follow_runs
from entourage.bench.surviving import cut_runs, failover_run
from entourage.bench.writing import keep, show
from entourage.lab.accel import usable_accel
from entourage.lab.place import new_place, open_place
from entourage.operations.examples import example
from entourage.operations.labs import bring_up, read_texts, take_down
from entourage.operations.machine import machine_json

SCHEMA = "entourage.bench-rules/1"
LAB = "bench-rules"
_SERVICES = 10_000
Document = dict[str, Any]


def summary(document: Document) -> Document:
    """What is judged: medians, and the worst of all runs under the same names."""
    follow, failover, cuts = document["follow"], document["failover"], document["cuts"]
    decide = document["decide"]
    values: dict[str, list[float]] = {
        "follow_noticed_s": [run["noticed_s"] for run in follow],
        "follow_prediction_error": [abs(run["prediction_error"]) for run in follow],
        "follow_sessions_reset": [run["sessions"]["reset"] for run in follow],
        "failover_noticed_s": [run["noticed_s"] for run in failover],
        "failover_answers_s": [run["answers_s"] for run in failover],
        "data_age_s": [run["data_age_s"] for run in failover if run["data_age_s"] is not None],
        "wrong_failovers": [run["wrong_failovers"] for run in cuts],
        "double_running": [len(run["running_twice"]) for run in (*cuts, *failover)],
    }
    medians = {name: _median(found) for name, found in values.items()}
    worst = {name: max(found, default=None) for name, found in values.items()}
    if decide is not None:
        medians |= {"decide_full_s": decide["full_s"]["median"], "decide_event_ms": decide["event_ms"]["median"]}
        worst |= {"decide_full_s": decide["full_s"]["worst"], "decide_event_ms": decide["event_ms"]["worst"]}
    return {**medians, "worst": worst, "runs": {"follow": len(follow), "failover": len(failover), "cuts": len(cuts)}}


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


async def _with_lab(service: str) -> None:
    """A new lab with this example service."""
    await take_down(LAB)
    texts = read_texts(example("sites.yaml"), example(service))
    await bring_up(new_place(LAB, texts), texts, lambda *_: None)


async def in_lab(document: Document, path: Path, arguments: argparse.Namespace) -> None:
    """All that needs a lab; after each part what is known so far is kept."""
    out = arguments.out
    try:
        if arguments.follow:
            await _with_lab("shop.yaml")
            _say("following")
            document["follow"] = await follow_runs(open_place(LAB), runs=arguments.follow, out=out)
            _keep(document, path)
        if arguments.cuts:
            await _with_lab("shop-replicated.yaml")
            _say("cutting the link")
            document["cuts"] = await cut_runs(LAB, out, runs=arguments.cuts)
            _keep(document, path)
        for run in range(1, arguments.failovers + 1):
            await _with_lab("shop-replicated.yaml")
            _say(f"killing a site, {run} of {arguments.failovers}")
            document["failover"].append({"run": run, **await failover_run(LAB, out)})
            _keep(document, path)
    finally:
        await take_down(LAB)


def _keep(document: Document, path: Path) -> None:
    document["summary"] = summary(document)
    keep(document, path)


def _say(what: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {what}", flush=True)  # noqa: T201


def main() -> int:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="entourage.bench.rules", description=__doc__)
    parser.add_argument("--follow", type=int, default=10, help="runs of a group that follows")
    parser.add_argument("--failovers", type=int, default=5, help="sites killed")
    parser.add_argument("--cuts", type=int, default=10, help="links cut")
    parser.add_argument("--services", type=int, default=_SERVICES, help="of the made-up world; 0: no decisions")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    arguments = parser.parse_args()
    path = arguments.out / "rules.json"
    document: Document = {
        "schema": SCHEMA,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine_json(accel=usable_accel()),
        "summary": {},
        "decide": None,
        "follow": [],
        "cuts": [],
        "failover": [],
    }
    if arguments.services:
        _say("deciding")
        document["decide"] = measure_decisions(arguments.services)
    _keep(document, path)
    asyncio.run(in_lab(document, path, arguments))
    show(document, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
