"""`make bench-switch`: the group switch beside the hypervisor's own migrations, under the same live sessions.

Every run moves the whole service by each strategy in turn, to the other site each time, and then one member alone
there (by the switch) and back (by the hypervisor's own migration). Every run has a new lab, in which what users have of
a service that was never moved is measured just before it is: a shared machine is not as fast now as some minutes ago,
and what is compared must be measured in pairs.
Writes out/bench/switch.json: every report, the machine, and a summary.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from entourage.bench.writing import keep, ratio, show
from entourage.lab.place import new_place
from entourage.model.ids import MemberId, SiteId
from entourage.operations.examples import example_texts
from entourage.operations.labs import bring_up, take_down
from entourage.operations.machine import machine_json
from entourage.operations.moves import add_users, run_move
from entourage.operations.packets import window
from entourage.operations.switching import Shown
from entourage.operations.users import Load, Seen, Users
from entourage.planner import MoveRequest, Strategy
from entourage.wiring import Wired, wire

SCHEMA = "entourage.bench-switch/1"
LAB = "bench"
_BASELINE_S = 30.0
_WINDOW_S = 6.0
_WINDOW_AFTER_GROUP_S = _BASELINE_S  # their requests are compared
_STRATEGIES = (Strategy.GROUP, Strategy.SERIAL, Strategy.PARALLEL)
_FIGURES = ("blackout_ms", "pause_skew_ms", "resume_skew_ms", "split_ms")
_SESSIONS = ("opened", "survived", "reset", "stalled_over_1s")

Window = tuple[float, float]  # seconds since the epoch
Document = dict[str, Any]


class Bench:
    """A run in its lab: `moves` are the reports so far, `baseline` what users had before the first move."""

    def __init__(self, wired: Wired, out: Path) -> None:
        self._wired = wired
        self._out = out
        self._at: SiteId = wired.place.service.home
        self.moves: list[Document] = []
        self.baseline: Document | None = None

    async def run(self, number: int, load: Load) -> None:
        """The run of this number, with users of its own."""
        async with Users(self._wired.place, load, self._out / "users") as users:
            await self._one_run(number, users)

    async def _one_run(self, number: int, users: Users) -> None:
        windows = [await window(_BASELINE_S)]
        moves: list[Document] = []
        for strategy in _STRATEGIES:
            moves.append(await self._move(number, strategy, None))
            self._at = self._other()
            windows.append(await window(_WINDOW_AFTER_GROUP_S if strategy is Strategy.GROUP else _WINDOW_S))
        members = self._wired.place.service.members
        alone = frozenset({members[(number - 1) % len(members)].id})
        moves.append(await self._move(number, Strategy.GROUP, alone))
        windows.append(await window(_WINDOW_S))
        moves.append(await self._move(number, Strategy.SERIAL, alone, target=self._at))
        windows.append(await window(_WINDOW_S))
        await users.wait_logged(windows[-1][1])
        self._keep(moves, windows, users.read())

    def _keep(self, moves: list[Document], windows: list[Window], seen: Seen) -> None:
        start, end = windows[0]
        near = next(r.id for r in self._wired.place.infrastructure.regions if r.near == moves[0]["source"])
        requests = seen.requests(start=start, end=end)
        self.baseline = {"run": moves[0]["run"], "site": moves[0]["source"], "near": near, "requests": requests}
        for move, before, after in zip(moves, windows, windows[1:], strict=False):
            add_users(
                move,
                sessions=seen.sessions(start=before[0], end=after[1]),
                requests={
                    "before": seen.requests(start=before[0], end=before[1]),
                    "after": seen.requests(start=after[0], end=after[1]),
                },
            )
            move["stream"] = seen.stream(start=before[1], end=after[0])
            self.moves.append(move)

    async def _move(
        self, number: int, strategy: Strategy, members: frozenset[MemberId] | None, *, target: SiteId | None = None
    ) -> Document:
        place = self._wired.place
        request = MoveRequest(
            service=place.service.id, target=target or self._other(), members=members, strategy=strategy
        )
        shown = Shown(progress=lambda _: None, phase=lambda _: None)
        document = await run_move(self._wired, request, shown=shown)
        document["run"] = number
        document["alone"] = None if members is None else next(iter(members))
        document["site_of_users"] = {region.id: region.near for region in place.infrastructure.regions}
        _say(document)
        return document

    def _other(self) -> SiteId:
        return next(site.id for site in self._wired.place.infrastructure.sites if site.id != self._at)


def summary(moves: Iterable[Document], baselines: Iterable[Document]) -> Document:
    """Medians and worst of the whole moves by strategy, and the comparisons that the figures are judged by.

    A figure that a move does not have (it was rolled back) makes `outcomes` differ from all committed.
    """
    known = list(moves)
    whole = {s.value: [m for m in known if m["strategy"] == s.value and m["alone"] is None] for s in _STRATEGIES}
    result: Document = {name: _of_strategy(group) for name, group in whole.items()}
    alone = _alone(known)
    group = result["group"]["blackout_ms"]["median"]
    result["alone_pause_ms"] = alone
    # Alone as a hypervisor moves it by itself, which is what there was before; and alone by the group's own switch.
    result["alone_slowest_pause_ms"] = max((by["serial"] for by in alone.values() if "serial" in by), default=None)
    result["alone_slowest_switched_ms"] = max((by["group"] for by in alone.values() if "group" in by), default=None)
    result["blackout_over_alone_slowest"] = ratio(group, result["alone_slowest_pause_ms"])
    result["blackout_over_alone_slowest_switched"] = ratio(group, result["alone_slowest_switched_ms"])
    after = [m["ingress"]["first_packet_after_last_resume_ms"] for m in whole["group"] if m["ingress"]]
    result["group"]["first_packet_after_last_resume_ms"] = _median_worst(after)
    result["group"]["near_users_crossings_after"] = max(
        (m["path"]["after"]["inter_site_crossings"] for m in whole["group"]), default=None
    )
    result["near_users_p50_ms"] = _near_users(whole["group"], baselines)
    return result


def _of_strategy(moves: list[Document]) -> Document:
    figures: Document = {name: _median_worst([m[name] for m in moves]) for name in _FIGURES}
    figures["stream_gap_ms"] = _median_worst([m["stream"]["longest_gap_ms"] for m in moves])
    figures["sessions"] = {name: sum(m["sessions"][name] for m in moves) for name in _SESSIONS}
    figures["outcomes"] = {o: sum(m["outcome"] == o for m in moves) for o in {m["outcome"] for m in moves}}
    figures["runs"] = len(moves)
    figures["left_over"] = sum(len(m["left_over"]) for m in moves)
    return figures


def _alone(moves: list[Document]) -> dict[str, dict[str, float]]:
    """Median pause of each member moved alone, by strategy."""
    pauses: dict[str, dict[str, list[float]]] = {}
    for move in moves:
        if move["alone"] is not None and move["blackout_ms"] is not None:
            pauses.setdefault(move["alone"], {}).setdefault(move["strategy"], []).append(move["blackout_ms"])
    return {m: {s: statistics.median(p) for s, p in by.items()} for m, by in pauses.items()}


def _near_users(moves: list[Document], baselines: Iterable[Document]) -> Document:
    """p50 of the users near the site where the service is: never moved, and after each run's group move.

    `ratio` is that of the medians, `pairs` those of the runs, each of two windows of the same lab and minute.
    """

    def near_target(move: Document) -> float | None:
        region = next(r for r, site in move["site_of_users"].items() if site == move["target"])
        p50: float | None = move["requests"]["after"][region]["p50_ms"]
        return p50

    always_by_run = {baseline["run"]: baseline["requests"][baseline["near"]]["p50_ms"] for baseline in baselines}
    after_by_run = {move["run"]: near_target(move) for move in moves}
    always, after = _median_worst(always_by_run.values()), _median_worst(after_by_run.values())
    pairs = [ratio(after_by_run[run], p50) for run, p50 in always_by_run.items() if run in after_by_run]
    return {
        "always_there": always,
        "after_group": after,
        "ratio": ratio(after["median"], always["median"]),
        "pairs": {**_median_worst(pairs), "each": pairs},
    }


def _median_worst(values: Iterable[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return {"median": None, "worst": None}
    return {"median": round(statistics.median(known), 3), "worst": max(known)}


def _say(move: Document) -> None:
    figures = "  ".join(f"{name} {move[name]}" for name in _FIGURES)
    alone = f" ({move['alone']} alone)" if move["alone"] else ""
    print(f"run {move['run']:2} {move['strategy']:8}{alone} {move['outcome']}  {figures}", flush=True)  # noqa: T201


async def _bench(runs: int, sessions: int, out: Path, *, is_encrypted: bool) -> None:
    moves: list[Document] = []
    baselines: list[Document] = []
    document: Document = {}
    for number in range(1, runs + 1):
        bench, accel = await _in_a_new_lab(number, Load(sessions=sessions), out, is_encrypted=is_encrypted)
        moves += bench.moves
        baselines += [bench.baseline] if bench.baseline else []
        document = {
            "schema": SCHEMA,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": await asyncio.to_thread(machine_json, accel=accel),
            "load": {"sessions": sessions},
            "encrypted": is_encrypted,
            "baselines": baselines,
            "summary": summary(moves, baselines),
            "runs": moves,
        }
        await asyncio.to_thread(keep, document, out / "switch.json")  # after each run: the next may be interrupted
    show(document, out / "switch.json")


async def _in_a_new_lab(number: int, load: Load, out: Path, *, is_encrypted: bool) -> tuple[Bench, str]:
    """The run of this number, and the accelerator that it had."""
    texts = example_texts()
    place = new_place(LAB, texts, is_encrypted=is_encrypted)
    await bring_up(place, texts, lambda what, done, total: None)
    try:
        wired = wire(place)
        bench = Bench(wired, out)
        try:
            await bench.run(number, load)
        finally:
            await wired.close()
    finally:
        await take_down(LAB)
    return bench, place.accel


def main() -> int:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="entourage.bench.switch", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--in-the-clear", action="store_true", help="hosts get no certificates, nothing is encrypted")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("--runs: at least one")
    asyncio.run(_bench(arguments.runs, arguments.sessions, arguments.out, is_encrypted=not arguments.in_the_clear))
    return 0


if __name__ == "__main__":
    sys.exit(main())
