"""A server is moved by hand, and the rest of its group follows by a rule: how soon, how well predicted, and its users.

"By hand" is QEMU's own migration over QMP with the member's segments stretched, see `entourage.chaos.by_hand`.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from entourage.chaos.by_hand import move_by_hand
from entourage.chaos.ruled import RulesAtWork
from entourage.lab.place import Place
from entourage.model.ids import site_of
from entourage.operations.examples import example
from entourage.operations.labs import look
from entourage.operations.users import Load, Users

_FOLLOWED_WITHIN_S = 120.0
_SETTLE_S = 3.0  # for users, before and after; every session sends in that time
_LOAD = Load(sessions=200, message_interval_s=2.0)


async def follow_runs(place: Place, *, runs: int, out: Path) -> list[dict[str, Any]]:
    """Move a server back and forth by hand, and note what becomes of its group each time."""
    async with RulesAtWork(place.name, rules=example("rules-follow.yaml"), out=out) as rules:
        return [{"run": run, **await _one_run(place, rules)} for run in range(1, runs + 1)]


async def _one_run(place: Place, rules: RulesAtWork) -> dict[str, Any]:
    seen = await look(place.name)
    source = site_of(next(iter(seen.snapshot.placement.values())))
    target = next(site for site in place.infrastructure.sites if site.id != source)
    server = place.service.chain[-1][0]
    with tempfile.TemporaryDirectory(prefix="entourage-users-") as logs:
        async with Users(place, _LOAD, Path(logs)) as users:
            start = time.time()
            await asyncio.sleep(_SETTLE_S)
            told = len(rules.news)
            alone_at = await move_by_hand(place.name, server, target.hosts[0].id)
            decided = await rules.wait_news(
                lambda news: news.get("verdict") == "do" and news["number"] not in _numbers(rules, told),
                within_s=_FOLLOWED_WITHIN_S,
            )
            ended = await rules.wait_news(
                lambda news: "verdict" not in news and news["number"] == decided["number"], within_s=_FOLLOWED_WITHIN_S
            )
            await asyncio.sleep(_SETTLE_S)
            end = time.time()
            await users.wait_logged(end)
            sessions = (await asyncio.to_thread(users.read)).sessions(start=start, end=end)
    after = await look(place.name)
    return {
        "server": server,
        "to": target.id,
        "noticed_s": _heard_at(rules, alone_at) - alone_at,
        "decided_s": decided["at"] - alone_at,
        "predicted_s": decided["predicted_s"],
        "whole_s": ended["at"] - decided["at"],
        "prediction_error": (decided["predicted_s"] - (ended["at"] - decided["at"])) / (ended["at"] - decided["at"]),
        "outcome": ended["outcome"],
        "reason": ended.get("reason"),
        "is_whole": {site_of(host) for host in after.snapshot.placement.values()} == {target.id},
        "oddities": after.oddities(),
        "stretched": sorted(after.stretched),
        "sessions": sessions,
    }


def _heard_at(rules: RulesAtWork, since: float) -> float:
    """When the first news came after that moment: then it was noticed, whatever was decided."""
    return float(next(news["at"] for news in rules.news if news["at"] >= since))


def _numbers(rules: RulesAtWork, told: int) -> set[int]:
    return {news["number"] for news in rules.news[:told]}
