"""`make bench-realtime`: packets through the chain beside CPU hogs, with and without real-time CPU.

One lab, in which every case is measured in turn and over again: a shared machine is not as fast now as some minutes
ago. A packet goes from the site's edge through router, firewall and load balancer to a server and back. Then the
service is moved back and forth, without hogs and with them. Then, without any machine, the admission.
Writes out/bench/realtime.json: the latencies of every case, the moves, the machine, and a summary.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from entourage.bench.admitting import admission_s, simulate
from entourage.bench.writing import keep, ratio, show
from entourage.chaos.noisy import HOGS, measure, noisy_lab
from entourage.chaos.noisy import hogs as noisy_hogs
from entourage.chaos.reserving import POLICIES, reserve
from entourage.operations.machine import machine_json
from entourage.operations.moves import run_move
from entourage.operations.packets import Packets, figures, window
from entourage.operations.switching import Shown
from entourage.planner import MoveRequest
from entourage.report.latency_chart import latency_chart
from entourage.wiring import Wired

SCHEMA = "entourage.bench-realtime/1"
LAB = "realtime"
_BESIDE_S = 15.0  # before and after each move
_SETTLING_S = 1.0  # an emulator has translated nothing of what has just been resumed: counted by itself
_RESERVED = "fifo"  # as the example's hosts have it
_CASES = (("other", False), *((policy, True) for policy in POLICIES))

Document = dict[str, Any]


class Bench:
    """One lab and what was measured in it so far."""

    def __init__(self, wired: Wired, out: Path) -> None:
        self._wired = wired
        self._out = out
        self._at = wired.place.service.home
        self.cases: list[Document] = []
        self.moves: list[Document] = []

    async def measure(self, run: int, policy: str, *, hogs: bool, for_s: float) -> None:
        """One case."""
        case = await measure(self._wired, self._out, site=self._at, policy=policy, noisy=hogs, for_s=for_s)
        self.cases.append({"run": run, **case})
        _say(self.cases[-1])

    async def move(self, run: int, *, hogs: bool) -> None:
        """To the other site and with reservations; packets are sent at both."""
        place = self._wired.place
        source = self._at
        target = next(site.id for site in place.infrastructure.sites if site.id != source)
        packets = Packets(place, self._out, [source, target])
        async with packets:
            with noisy_hogs(hogs):
                start, began = await window(_BESIDE_S)
                shown = Shown(progress=lambda _: None, phase=lambda _: None)
                report = await run_move(self._wired, MoveRequest(service=place.service.id, target=target), shown=shown)
                _, end = await window(_BESIDE_S)
        document = {"run": run, "hogs": hogs, "outcome": report["outcome"], "blackout_ms": report["blackout_ms"]}
        document["reason"] = report["reason"]
        if report["outcome"] == "committed":
            self._at = target
            paused, resumed = _time(report, "paused_at", min), _time(report, "resumed_at", max)
            document["before"] = figures(packets.trips(source, start=start, end=began))
            moving = packets.trips(source, start=began, end=paused)
            moved = packets.trips(target, start=resumed + _SETTLING_S, end=end)
            document["outside_blackout"] = figures([*moving, *moved])
            document["settling"] = figures(packets.trips(target, start=resumed, end=resumed + _SETTLING_S))
        self.moves.append(document)
        _say(document)

    def document(self, accel: str) -> Document:
        """All of it, as it is written."""
        return {
            "schema": SCHEMA,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": machine_json(accel=accel),
            "hogs": {"cpu": HOGS, "memory": 1},
            "cases": self.cases,
            "moves": self.moves,
        }


def _time(report: Mapping[str, Any], which: str, choose: Any) -> float:  # noqa: ANN401 - min or max
    return float(choose(member[which] for member in report["members"]))


def _say(document: Mapping[str, Any]) -> None:
    told = {key: value for key, value in document.items() if key != "quantiles"}
    print("  ".join(f"{key} {value}" for key, value in told.items()), flush=True)  # noqa: T201


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


_NAMES = {"other": "nothing promised", "nice": "nice −20", "fifo": "SCHED_FIFO", "deadline": "SCHED_DEADLINE"}


def distributions(cases: Sequence[Mapping[str, Any]]) -> list[Document]:
    """Of each case the run whose p99.9 is the median, named as the chart has it."""
    found = []
    for policy, hogs in _CASES:
        runs = [case for case in cases if (case["policy"], case["hogs"]) == (policy, hogs) and case["p999_ms"]]
        runs.sort(key=lambda case: case["p999_ms"])
        if runs:
            name = f"{'neighbours' if hogs else 'alone'}, {_NAMES[policy]}"
            found.append({"name": name, "quantiles": runs[len(runs) // 2]["quantiles"]})
    return found


def summary(cases: Sequence[Mapping[str, Any]], moves: Sequence[Mapping[str, Any]]) -> Document:
    """Ratios of medians over the runs. Reserved is SCHED_FIFO, and under load unless it says idle."""

    def of(policy: str, hogs: bool, figure: str) -> float | None:
        return _median([case[figure] for case in cases if (case["policy"], case["hogs"]) == (policy, hogs)])

    def moving(when: str) -> float | None:
        return _median([move[when]["p999_ms"] for move in moves if move["hogs"] and move["outcome"] == "committed"])

    def blackout(hogs: bool) -> float | None:
        return _median([move["blackout_ms"] for move in moves if move["hogs"] == hogs and move["blackout_ms"]])

    return {
        "p999_unreserved_over_reserved": ratio(of("other", True, "p999_ms"), of(_RESERVED, True, "p999_ms")),
        "max_unreserved_over_reserved": ratio(of("other", True, "max_ms"), of(_RESERVED, True, "max_ms")),
        "p999_reserved_over_idle": ratio(of(_RESERVED, True, "p999_ms"), of("other", False, "p999_ms")),
        "p999_moving_over_before": ratio(moving("outside_blackout"), moving("before")),
        "p999_settling_over_before": ratio(moving("settling"), moving("before")),
        "blackout_noisy_over_quiet": ratio(blackout(True), blackout(False)),
    }


async def _measured(out: Path, *, runs: int, moves: int, for_s: float) -> Document:
    async with noisy_lab(LAB) as wired:
        bench = Bench(wired, out)
        for run in range(1, runs + 1):
            for policy, hogs in _CASES:
                await bench.measure(run, policy, hogs=hogs, for_s=for_s)
        reserve(wired, _RESERVED, wired.place.service.home)
        for run in range(1, moves + 1):
            for hogs in (False, True):
                await bench.move(run, hogs=hogs)
    return bench.document(wired.place.accel)


def main() -> int:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="entourage.bench.realtime", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--moves", type=int, default=3, help="with neighbours, and as many without")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--sets", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    arguments = parser.parse_args()
    packets = arguments.out / "packets"
    packets.mkdir(parents=True, exist_ok=True)
    document = asyncio.run(_measured(packets, runs=arguments.runs, moves=arguments.moves, for_s=arguments.seconds))
    simulated = simulate(arguments.sets)
    document["admission"] = {"s": [round(admission_s(seed), 3) for seed in range(1, 6)], **asdict(simulated)}
    document["summary"] = {
        **summary(document["cases"], document["moves"]),
        "admission_s": statistics.median(document["admission"]["s"]),
        "admitted_misses": simulated.missed,
    }
    path = arguments.out / "realtime.json"
    keep(document, path)
    chart = latency_chart(
        distributions(document["cases"]), title="How many packets took longer than so long", standalone=True
    )
    path.with_suffix(".svg").write_text(chart)
    show(document, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
