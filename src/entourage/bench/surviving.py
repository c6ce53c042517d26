"""Sites that are killed and links that are cut, with rules at work: who fails over, how soon, and with which data."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from entourage.chaos.ruled import RulesAtWork
from entourage.chaos.sites import cut_link, heal_link, kill_site, revive_site
from entourage.lab import names
from entourage.lab.place import Lab, Place, open_place
from entourage.model.ids import HostId, MemberId, SiteId
from entourage.operations.examples import example
from entourage.operations.quorum import look_at_quorum, sites_seen
from entourage.operations.replicating import replica_states
from entourage.operations.users import Load, Users

_FRESH_WITHIN_S, _OVER_WITHIN_S, _HEALED_WITHIN_S, _REMOVED_WITHIN_S = 120.0, 150.0, 60.0, 60.0
_CUT_S = 8.0  # longer than a lease and its margin
_LOOK_EVERY_S = 0.2
_LOAD = Load(sessions=2, requests_per_s=20.0, stream_hz=0)

Document = dict[str, Any]


async def failover_run(lab: str, out: Path) -> Document:
    """Kill the site where everything runs, and see who serves when; then let it come back."""
    place = open_place(lab)
    source = place.service.home
    async with RulesAtWork(lab, rules=example("rules-failover.yaml"), out=out) as rules:
        await _until(lambda: _is_fresh(place), _FRESH_WITHIN_S, "the replicas are fresh")
        with tempfile.TemporaryDirectory(prefix="entourage-users-") as logs:
            async with Users(place, _LOAD, Path(logs)) as users:
                watching = asyncio.create_task(_running_twice(place))
                killed = time.time()
                await kill_site(place, source)
                dead = time.time()
                decided = await rules.wait_news(lambda news: news.get("verdict") == "do", within_s=_OVER_WITHIN_S)
                ended = await rules.wait_news(
                    lambda news: "verdict" not in news and news["number"] == decided["number"], within_s=_OVER_WITHIN_S
                )
                await users.wait_logged(time.time())
                seen = await asyncio.to_thread(users.read)
                await revive_site(place, source)
                await _until(lambda: _is_up(place, source), _REMOVED_WITHIN_S, f"{source} is up again")
                await asyncio.sleep(_CUT_S)
                watching.cancel()
                twice = await watching
    answered = [
        request.scheduled_at + request.latency_ms / 1000
        for log in seen.logs.values()
        for request in log.requests
        if request.outcome == "ok" and request.scheduled_at > dead
    ]
    return {
        "site": source,
        "noticed_s": decided["at"] - killed,
        "answers_s": min(answered, default=float("inf")) - killed,
        "boot_s": ended.get("boot_s"),
        "total_s": ended.get("total_s"),
        "data_age_s": max((killed - at for at in ended.get("data_of", {}).values()), default=None),
        "rpo_s": place.service.rpo_s,
        "outcome": ended["outcome"],
        "reason": ended.get("reason"),
        "running_twice": twice,
        "old_copies": [f"{member} on {host}" for member, host in _copies(place) if host.startswith(f"{source}/")],
    }


async def cut_runs(lab: str, out: Path, *, runs: int) -> list[Document]:
    """Cut the inter-site link for longer than a lease, again and again, and see that nobody does anything."""
    place = open_place(lab)
    one, other = (site.id for site in place.infrastructure.sites)
    link = names.inter_site(*place.infrastructure.link(one, other).sites)
    found = []
    async with RulesAtWork(lab, rules=example("rules-failover.yaml"), out=out) as rules:
        for run in range(1, runs + 1):
            before = len([news for news in rules.news if news.get("verdict") == "do"])
            watching = asyncio.create_task(_running_twice(place))
            await cut_link(place, link)
            await asyncio.sleep(_CUT_S)
            told = sites_seen(place, await look_at_quorum(place))
            await heal_link(place, link)
            for site in (one, other):
                await _until(lambda site=site: _is_up(place, site), _HEALED_WITHIN_S, f"{site} is up")
            watching.cancel()
            found.append(
                {
                    "run": run,
                    "states": {site: state.value for site, state in told.states.items()},
                    "may_act": {site: sorted(sites) for site, sites in told.may_act.items() if sites},
                    "wrong_failovers": len([n for n in rules.news if n.get("verdict") == "do"]) - before,
                    "running_twice": await watching,
                    "running": sorted(member for member, _ in _copies(place)),
                }
            )
    return found


def _copies(place: Place) -> list[tuple[MemberId, HostId]]:
    """Every copy whose QEMU is there, running or not."""
    return [(member.id, host) for member, host in place.copies()]


async def _running_twice(place: Place) -> list[str]:
    """Members of which there were copies at two places at once, until cancelled."""
    found: list[str] = []
    try:
        while True:
            where: dict[str, list[str]] = {}
            for member, host in await asyncio.to_thread(_copies, place):
                where.setdefault(member, []).append(host)
            found += [f"{member} on {' and '.join(hosts)}" for member, hosts in where.items() if len(hosts) > 1]
            await asyncio.sleep(_LOOK_EVERY_S)
    except asyncio.CancelledError:
        return found


async def _is_fresh(place: Place) -> bool:
    states = await asyncio.to_thread(replica_states, place)
    return bool(states) and not any(state.is_behind(time.time()) for state in states)


async def _is_up(lab: Lab, site: SiteId) -> bool:
    states = sites_seen(lab, await look_at_quorum(lab)).states
    return states.get(site) is not None and states[site].value == "up"


async def _until(is_so: Any, within_s: float, what: str) -> None:  # noqa: ANN401 - an async function
    async with asyncio.timeout(within_s):
        while not await is_so():  # noqa: ASYNC110 - others' state
            await asyncio.sleep(_LOOK_EVERY_S)
    assert what
