"""The story: everything at one site; only the servers moved, as live migration does today; the whole path moved.

Every act is measured by the same live sessions, with users in every region.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from entourage.lab import names
from entourage.lab.place import Place, SpecTexts
from entourage.model.ids import MemberId, SiteId
from entourage.model.world import Role
from entourage.operations.labs import bring_up, take_down
from entourage.operations.machine import machine_json
from entourage.operations.moves import add_users, paths_json, run_move
from entourage.operations.observe import observe
from entourage.operations.switching import Shown
from entourage.operations.tell import Tell
from entourage.operations.users import Load, Seen, Users
from entourage.planner import MoveRequest, Strategy
from entourage.probe.analysis import silences
from entourage.report import DEMO_SCHEMA
from entourage.wiring import Wired, wire

_ACT_S = 10.0  # how long each act is measured
_SETTLE_S = 2.0
_GAP_SHOWN_MS = 100.0


class Story:
    """The acts as they are played; `document` is what the report is made from."""

    def __init__(self, wired: Wired, users: Users, *, tell: Tell) -> None:
        self._wired = wired
        self._users = users
        self._tell = tell
        self.started_at = time.time()
        self.acts: list[dict[str, Any]] = []
        self.marks: list[tuple[float, str]] = []
        self._windows: list[tuple[float, float]] = []

    async def act(self, title: str, kind: str, *, moves: list[dict[str, Any]], before: list[dict[str, Any]]) -> None:
        """Measure for a while what users have now. `moves` led here, the last one counts; `before` prepared it."""
        await asyncio.sleep(_SETTLE_S)
        start, use = time.time(), await self._link_use()
        self.marks.append((start, title))
        self._tell.act(len(self.acts) + 1, title)
        await asyncio.sleep(_ACT_S)
        end, used = time.time(), await self._link_use()
        seen = await observe(self._wired)
        target = self._wired.place.infrastructure.sites[-1].id
        self.acts.append(
            {
                "title": title,
                "kind": kind,
                "placement": dict(seen.snapshot.placement),
                "ingress": dict(seen.snapshot.ingress),
                "paths": list(paths_json(seen, target)["regions"].values()),
                "inter_site": _difference(use, used, seconds=end - start),
                "move": moves[-1] if moves else None,
                "moves_back": before,
            }
        )
        self._windows.append((start, end))

    async def move(self, target: SiteId, strategy: Strategy, members: frozenset[MemberId] | None) -> dict[str, Any]:
        """One move, with its report; users' figures are added when all is read."""
        what = "the whole group" if members is None else ", ".join(sorted(members))
        self._tell.phase(f"moving {what} to {target} ({strategy.value})")
        self.marks.append((time.time(), f"{strategy.value} move to {target}"))
        request = MoveRequest(service=self._wired.place.service.id, target=target, members=members, strategy=strategy)
        shown = Shown(progress=self._tell.progress, phase=self._tell.phase)
        document = await run_move(self._wired, request, shown=shown)
        document["ended_at"] = time.time()
        return document

    def add_seen(self, seen: Seen) -> None:
        """Add what users saw: to each act in its window, to each move from its start to the end of the act after it."""
        before: Mapping[str, Any] = {}
        for act, (start, end) in zip(self.acts, self._windows, strict=True):
            act["requests"] = seen.requests(start=start, end=end)
            act["stream"] = seen.stream(start=start, end=end)
            for move in [*act["moves_back"], *([act["move"]] if act["move"] else [])]:
                ended = end if move is act["move"] else move["ended_at"]
                add_users(
                    move,
                    sessions=seen.sessions(start=move["started_at"], end=ended),
                    requests={"before": before or None, "after": act["requests"] if move is act["move"] else None},
                )
            before = act["requests"]

    def timeline(self, seen: Seen) -> dict[str, Any]:
        """The whole story in samples; times in seconds since its start."""
        zero = self.started_at
        requests = [
            [round(r.scheduled_at - zero, 3), region, r.latency_ms if r.outcome == "ok" else None]
            for region, log in seen.logs.items()
            for r in log.requests
            if r.outcome != "unfinished"
        ]
        gaps = [
            [round(since - zero, 3), round((until - since) * 1000, 1)]
            for log in seen.logs.values()
            for stream in log.streams
            for since, until in silences(stream)
            if (until - since) * 1000 >= _GAP_SHOWN_MS
        ]
        marks = [[round(at - zero, 3), label] for at, label in self.marks]
        return {"t0": zero, "requests": sorted(requests), "stream_gaps": sorted(gaps), "marks": marks}

    async def _link_use(self) -> dict[str, int]:
        """Bytes that came out of the inter-site link so far, both ways, by class."""
        counters = await self._wired.place.fabric.relay_counters()
        total: dict[str, int] = {}
        for link in self._wired.place.infrastructure.links:
            for direction in counters[names.inter_site(*link.sites)].values():
                for name, count in direction["classes"].items():
                    total[name] = total.get(name, 0) + count
        return total


async def run_demo(*, place: Place, texts: SpecTexts, load: Load, out: Path, tell: Tell) -> dict[str, Any]:
    """Bring a lab up, tell the story in it, take it down; the demo's document. Nothing of the lab is left."""
    await bring_up(place, texts, tell.step)
    try:
        wired = wire(place)
        try:
            return await _tell_story(wired, load, out, tell)
        finally:
            await wired.close()
    finally:
        tell.phase("taking the lab down")
        await take_down(place.name)


async def _tell_story(wired: Wired, load: Load, out: Path, tell: Tell) -> dict[str, Any]:
    service = wired.place.service
    home = service.home
    away = next(site.id for site in wired.place.infrastructure.sites if site.id != home)
    servers = frozenset(member.id for member in service.of_role(Role.SERVER))
    tell.phase(f"opening {load.sessions} sessions from all regions")
    async with Users(wired.place, load, out / "users") as users:
        story = Story(wired, users, tell=tell)
        await story.act(f"Everything at {home}", "baseline", moves=[], before=[])
        alone = await story.move(away, Strategy.SERIAL, servers)
        await story.act(f"Only the servers moved to {away}", "servers-only", moves=[alone], before=[])
        back = await story.move(home, Strategy.SERIAL, servers)
        whole = await story.move(away, Strategy.GROUP, None)
        await story.act(f"The whole group moved to {away}", "group", moves=[whole], before=[back])
        ended = time.time()
        await users.wait_logged(ended)
        seen = users.read()
    story.add_seen(seen)
    return {
        "schema": DEMO_SCHEMA,
        "created": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "machine": await asyncio.to_thread(machine_json, accel=wired.place.accel),
        **_setting(wired.place),
        "acts": story.acts,
        "sessions": seen.sessions(start=story.started_at, end=ended),
        "timeline": story.timeline(seen),
    }


def _setting(place: Place) -> dict[str, Any]:
    """What the story is told in: the lab's link, its infrastructure, its service."""
    world, service = place.infrastructure, place.service
    links = [{"sites": list(k.sites), "rtt_ms": k.rtt, "rate_bps": k.rate, "loss": k.loss} for k in world.links]
    return {
        "lab": {name: links[0][name] for name in ("rtt_ms", "rate_bps", "loss")},
        "infrastructure": {
            "sites": [
                {"id": site.id, "hosts": [host.id.partition("/")[2] for host in site.hosts]} for site in world.sites
            ],
            "regions": [{"id": region.id, "near": region.near, "rtt_ms": region.rtt} for region in world.regions],
            "links": links,
        },
        "service": {
            "id": service.id,
            "prefix": str(service.prefix),
            "address": str(service.address),
            "members": [{"name": member.id, "role": member.role.value} for member in service.members],
            "chain": [list(stage) for stage in service.chain],
        },
    }


def _difference(before: Mapping[str, int], after: Mapping[str, int], *, seconds: float) -> dict[str, Any]:
    used = {name: count - before.get(name, 0) for name, count in after.items()}
    user_bytes = used.get("segment", 0) + used.get("late", 0)
    return {
        "user_bytes": user_bytes,
        "user_rate_bps": round(user_bytes * 8 / seconds),
        "migration_bytes": used.get("migration", 0),
    }
