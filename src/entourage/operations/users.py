"""Live users of a service in the lab: a probe in every region, and what they saw in a window of time."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entourage.lab import names
from entourage.lab.place import Place
from entourage.model.ids import RegionId
from entourage.probe.analysis import (
    ProbeLog,
    merge,
    summarise_requests,
    summarise_sessions,
    summarise_stream,
)
from entourage.probe.config import ProbeConfig
from entourage.probe.reading import read_log
from entourage.probe.runner import ProbeError, ProbeProcess
from entourage.probe.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What all regions together ask of the service."""

    sessions: int = 1000
    message_interval_s: float = 5.0
    requests_per_s: float = 4.0
    stream_hz: float = 100.0


class Users:
    """The users of every region, as child processes that end with this one.

    `async with Users(place, load, folder) as users:` returns when all sessions are open.
    """

    def __init__(self, place: Place, load: Load, folder: Path) -> None:
        """The raw logs are written into `folder`, one for each region."""
        self._logs: dict[RegionId, Path] = {}
        self._probes: dict[RegionId, ProbeProcess] = {}
        regions = place.infrastructure.regions
        folder.mkdir(parents=True, exist_ok=True)
        for number, region in enumerate(regions):
            self._logs[region.id] = folder / f"{region.id}.jsonl"
            config = ProbeConfig(
                region=region.id,
                address=str(place.service.address),
                log=str(self._logs[region.id]),
                sessions=load.sessions * (number + 1) // len(regions) - load.sessions * number // len(regions),
                message_interval_s=load.message_interval_s,
                requests_per_s=load.requests_per_s / len(regions),
                stream_hz=load.stream_hz,
                netns=str(place.fabric.netns_path(names.users(region.id))),
                realtime=True,
            )
            self._probes[region.id] = ProbeProcess(config)

    async def __aenter__(self) -> "Users":
        try:
            async with asyncio.TaskGroup() as group:
                for probe in self._probes.values():
                    group.create_task(probe.start())
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    def statuses(self) -> Mapping[RegionId, Status | None]:
        """What each region's probe said last."""
        return {region: probe.latest for region, probe in self._probes.items()}

    async def wait_logged(self, until: float) -> None:
        """Until every probe has written down what it saw up to `until` (seconds since the epoch)."""
        for probe in self._probes.values():
            await probe.wait_status(lambda status: status.t > until + 1.0, deadline_s=30.0)

    def read(self) -> "Seen":
        """What has been seen so far."""
        return Seen({region: read_log(path) for region, path in self._logs.items() if path.exists()})

    async def _stop(self) -> None:
        for probe in self._probes.values():
            try:
                await probe.stop()
            except ProbeError:
                continue  # it never started, or ended early: what it did not see is missing in its log, not made up


class Seen:
    """The users' raw logs, and their figures for windows of time (seconds since the epoch)."""

    def __init__(self, logs: Mapping[RegionId, ProbeLog]) -> None:
        self.logs = logs
        self._all = merge(logs.values())

    def sessions(self, *, start: float, end: float) -> dict[str, Any]:
        """The sessions of all regions together."""
        return summarise_sessions(self._all, start=start, end=end).to_json()

    def requests(self, *, start: float, end: float) -> dict[str, dict[str, Any]]:
        """The short requests of each region."""
        return {r: summarise_requests(log, start=start, end=end).to_json() for r, log in self.logs.items()}

    def stream(self, *, start: float, end: float) -> dict[str, Any]:
        """The packet streams of all regions together."""
        return summarise_stream(self._all, start=start, end=end).to_json()
