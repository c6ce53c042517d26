"""Packets through the chain and back, sent from the edge of a site, where no link with a delay is on their way."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from entourage.lab import names
from entourage.lab.place import Place
from entourage.model.ids import SiteId
from entourage.probe.config import ProbeConfig
from entourage.probe.quantiles import quantile
from entourage.probe.reading import read_log
from entourage.probe.runner import ProbeProcess

STREAMS, STREAM_HZ = 2, 250.0
LOST = float("inf")
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "p9999": 0.9999}


class Packets:
    """Probes at these sites' edges, as long as the block lasts; what they have seen can be read after it."""

    def __init__(self, place: Place, out: Path, sites: Sequence[SiteId]) -> None:
        self._logs = {site: [out / f"{site}-{number}.jsonl" for number in range(STREAMS)] for site in sites}
        self._probes = [
            ProbeProcess(
                ProbeConfig(
                    region=f"edge-{log.stem}",
                    address=str(place.service.address),
                    log=str(log),
                    sessions=0,
                    requests_per_s=0,
                    stream_hz=STREAM_HZ,
                    netns=str(place.fabric.netns_path(names.edge(site))),
                    realtime=True,
                )
            )
            for site, logs in self._logs.items()
            for log in logs
        ]

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(probe.start() for probe in self._probes))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for probe in self._probes:
            await probe.stop()

    def trips(self, site: SiteId, *, start: float, end: float) -> list[float]:
        """Seconds there and back of what was sent there in that time (since the epoch); LOST if it never came back."""
        return [
            trip
            for log in self._logs[site]
            for stream in read_log(log).streams
            for trip in _round_trips(stream, start=start, end=end)
        ]


def _round_trips(stream: Any, *, start: float, end: float) -> Iterator[float]:  # noqa: ANN401 - of a read log
    echoed = {sequence: at for at, sequence in reversed(stream.echoes)}
    for sent_at, sequence in stream.packets:
        if start <= sent_at < end:
            yield echoed[sequence] - sent_at if sequence in echoed else LOST


def figures(trips: Sequence[float]) -> Mapping[str, Any]:
    """In ms, without those that were lost, which are counted."""
    back = [trip for trip in trips if trip != LOST]
    of = {name: _ms(quantile(back, share)) for name, share in _SHARES.items()}
    return {
        "packets": len(trips),
        "lost": len(trips) - len(back),
        **{f"{name}_ms": value for name, value in of.items()},
        "max_ms": _ms(max(back, default=None)),
        "quantiles": [[share, of[name]] for name, share in _SHARES.items()],
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


async def window(seconds: float) -> tuple[float, float]:
    """Let so much time pass: when it began and ended."""
    start = time.time()
    await asyncio.sleep(seconds)
    return start, time.time()
