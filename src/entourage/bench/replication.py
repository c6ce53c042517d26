"""`python -m entourage.bench.replication`: how old replicas get, what rounds take, and what that costs the guests.

In a lab that is up with a replicated service: for some time without replication, for as long with it, and that over
again. Guests write a record a second, durably; their QEMU says how long its disk took for each write and flush.
Writes out/bench/replication.json.
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import time
from typing import Any

from entourage.bench.writing import keep, ratio, show
from entourage.drivers.qemu.monitor import Monitor
from entourage.drivers.qemu.process import instance_paths
from entourage.lab.place import Place, open_place
from entourage.model.ids import HostId, MemberId
from entourage.operations.labs import look
from entourage.operations.machine import machine_json
from entourage.operations.replicating import replica_states, replicate

SCHEMA = "entourage.bench-replication/1"
_SAMPLE_S = 0.1
_FIRST_WITHIN_S = 120.0

Document = dict[str, Any]


class Writes:
    """How long the disk of each member took for what its guest asked for, by its QEMU's own counts."""

    def __init__(self, monitors: Mapping[MemberId, Monitor]) -> None:
        self._monitors = monitors
        self._seen: dict[MemberId, tuple[int, int]] = {}
        self.ms: list[float] = []  # for each record: its write and its flush

    async def sample(self) -> None:
        """What was done since the last time."""
        for member, monitor in self._monitors.items():
            stats = await monitor.execute("query-blockstats", query_nodes=False)
            (disk,) = [each["stats"] for each in stats if each.get("qdev")]
            done, took_ns = int(disk["flush_operations"]), disk["wr_total_time_ns"] + disk["flush_total_time_ns"]
            before = self._seen.get(member)
            if before is None or done > before[0]:
                self._seen[member] = (done, took_ns)
                if before is not None:
                    self.ms.append((took_ns - before[1]) / (done - before[0]) / 1e6)


@asynccontextmanager
async def _monitors(place: Place, placement: Mapping[MemberId, HostId]) -> AsyncIterator[dict[MemberId, Monitor]]:
    made = {}
    for member in place.service.replicated():
        paths = instance_paths(place.access(placement[member.id]), member.id)
        made[member.id] = Monitor(name=member.id, socket=paths.spare_monitor)
    try:
        for monitor in made.values():
            await monitor.connect()
        yield made
    finally:
        for monitor in made.values():
            await monitor.close()


async def _watch(place: Place, writes: Writes, *, for_s: float) -> list[Document]:
    """Every age that was seen, and the round that it was of."""
    ages = []
    for _ in range(round(for_s / _SAMPLE_S)):
        now = time()
        for state in replica_states(place):
            if (last := state.generation) is not None:
                seen = {"member": state.member, "age_s": last.age_s(now), "generation": last.number}
                ages.append({**seen, "bytes": last.bytes, "took_s": last.took_s})
        await writes.sample()
        await asyncio.sleep(_SAMPLE_S)
    return ages


async def _with_replicas(place: Place, writes: Writes, *, for_s: float) -> tuple[list[Document], list[str]]:
    told: list[str] = []
    doing = asyncio.create_task(replicate(place, tell=told.append))
    began = time()
    try:
        async with asyncio.timeout(_FIRST_WITHIN_S):
            while not all(s.generation and s.generation.taken_at > began for s in replica_states(place)):  # noqa: ASYNC110
                await asyncio.sleep(_SAMPLE_S)
        del told[:]
        return await _watch(place, writes, for_s=for_s), told
    finally:
        doing.cancel()
        with suppress(asyncio.CancelledError):
            await doing


async def measured(place: Place, *, runs: int, for_s: float) -> Document:
    """All of it."""
    placement = (await look(place.name)).snapshot.placement
    ages: list[Document] = []
    told: list[str] = []
    async with _monitors(place, placement) as monitors:
        without, beside = Writes(monitors), Writes(monitors)
        for _ in range(runs):
            await _watch(place, without, for_s=for_s)
            seen, said = await _with_replicas(place, beside, for_s=for_s)
            ages, told = ages + seen, told + said
    rounds = {(each["member"], each["generation"], each["bytes"]): each for each in ages}.values()
    document = {
        "schema": SCHEMA,
        "machine": machine_json(accel=place.accel),
        "rpo_s": place.service.rpo_s,
        "told": told,
    }
    write_ms = {"without": _figures(without.ms), "replicated": _figures(beside.ms)}
    document["summary"] = {
        "age_s": _figures([each["age_s"] for each in ages]),
        "rounds": len(rounds),
        "round_bytes": _figures([each["bytes"] for each in rounds]),
        "round_s": _figures([each["took_s"] for each in rounds]),
        "write_ms": write_ms,
        "write_ratio": ratio(write_ms["replicated"]["median"], write_ms["without"]["median"]),
    }
    return document


def _figures(values: Sequence[float]) -> Document:
    ordered = sorted(values)
    p99 = ordered[int(len(ordered) * 0.99)]
    figures = {"median": statistics.median(ordered), "p99": p99, "worst": ordered[-1]}
    return {**{name: round(value, 3) for name, value in figures.items()}, "count": len(ordered)}


def main() -> int:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="entourage.bench.replication", description=__doc__)
    parser.add_argument("--lab", default="lab1")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40.0, help="with replication, and as many without, each time")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    arguments = parser.parse_args()
    document = asyncio.run(measured(open_place(arguments.lab), runs=arguments.runs, for_s=arguments.seconds))
    path = arguments.out / "replication.json"
    keep(document, path)
    show(document, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
