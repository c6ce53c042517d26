"""Rules at work in a real lab: groups that follow, sites that die, links that are cut, and failovers only tried."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from whole_lab import Entourage, lab_up

from entourage.chaos.by_hand import move_by_hand
from entourage.chaos.ruled import RulesAtWork
from entourage.chaos.sites import cut_link, heal_link, kill_site, revive_site
from entourage.lab.bubble import left_bubbles
from entourage.lab.leftovers import leftovers
from entourage.lab.place import Place
from entourage.lab.setup import lab_root
from entourage.model.ids import HostId, MemberId, SiteId, site_of
from entourage.operations.driving import is_being_driven
from entourage.operations.examples import example
from entourage.operations.labs import look
from entourage.operations.old_disks import old_disks
from entourage.operations.quorum import look_at_quorum, sites_seen
from entourage.operations.recovering import open_moves
from entourage.operations.replicating import replica_states
from entourage.operations.users import Load, Users
from entourage.ports.conformance.kit import wait_until
from entourage.rules.view import SiteState

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

LAB = "t-rules"
EAST, WEST = SiteId("east"), SiteId("west")
WEB1 = MemberId("web1")
WITHIN_S = 240.0
LINK = "inter-site:east-west"
FOLLOW, FAILOVER = example("rules-follow.yaml"), example("rules-failover.yaml")
told = Entourage(Path.cwd(), lab=LAB).json


@pytest.fixture(scope="module")
def place(lab_requirements: Path) -> Iterator[Place]:
    """A lab with its service at `east`, and replicas wanted."""
    with lab_up(LAB, "--service", str(example("shop-replicated.yaml")), "--rate", "500 Mbit/s") as made:
        yield made


def is_do(news: dict[str, Any]) -> bool:
    return news.get("verdict") == "do"


async def outcome_of(rules: RulesAtWork, decided: dict[str, Any]) -> dict[str, Any]:
    return await rules.wait_news(
        lambda news: "verdict" not in news and news["number"] == decided["number"], within_s=WITHIN_S
    )


async def whole_at(site: SiteId) -> None:
    """Every member runs there, once, and users enter there."""
    seen = await look(LAB)
    assert {site_of(host) for host in seen.snapshot.placement.values()} == {site}
    assert len(seen.copies) == len(seen.snapshot.service.members)
    assert set(seen.snapshot.ingress.values()) == {site}


async def until_fresh(place: Place) -> None:
    async def fresh() -> bool:
        states = replica_states(place)
        return bool(states) and not any(state.is_behind(time.time()) for state in states)

    await wait_until(fresh, words="the replicas are fresh", deadline_s=WITHIN_S)


async def until_up(place: Place, site: SiteId) -> None:
    async def up() -> bool:
        return sites_seen(place, await look_at_quorum(place)).states.get(site) is SiteState.UP

    await wait_until(up, words=f"{site} is up", deadline_s=WITHIN_S)


def test_the_rest_of_a_group_follows_a_server_that_somebody_else_moved(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            RulesAtWork(LAB, rules=FOLLOW, out=tmp_path) as rules,
            Users(place, Load(sessions=40, message_interval_s=1.0), tmp_path / "users") as users,
        ):
            began = time.time()
            await move_by_hand(LAB, WEB1, HostId("west/h1"))
            decided = await rules.wait_news(is_do, within_s=WITHIN_S)
            assert (decided["rule"], decided["action"], decided["target"]) == ("follow-servers", "follow", WEST)
            assert (await outcome_of(rules, decided))["outcome"] == "committed"
            await users.wait_logged(time.time())
            sessions = (await asyncio.to_thread(users.read)).sessions(start=began, end=time.time())
            assert (sessions["survived"], sessions["reset"]) == (40, 0)
        await whole_at(WEST)
        assert (await look(LAB)).stretched == {}

    asyncio.run(story())
    (latest, *_) = told("decisions")["decisions"]
    assert latest["outcome"]["outcome"] == "committed"
    (rule, *_) = told("explain")["rules"]
    assert (rule["rule"], rule["verdict"], rule["sees"]["service.site"]) == ("follow-servers", None, WEST)


def test_what_a_run_that_is_killed_had_begun_comes_to_its_end(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with RulesAtWork(LAB, rules=FOLLOW, out=tmp_path) as rules:
            await move_by_hand(LAB, WEB1, HostId("east/h1"))
            await rules.wait_news(is_do, within_s=WITHIN_S)

            async def begun() -> bool:
                return bool(open_moves(place))

            await wait_until(begun, words="the move has begun", deadline_s=WITHIN_S)
            rules.kill()
        async with RulesAtWork(LAB, rules=FOLLOW, out=tmp_path):

            async def whole() -> bool:
                if is_being_driven(place) or open_moves(place):
                    return False
                seen = await look(LAB)
                return len({site_of(host) for host in seen.snapshot.placement.values()}) == 1 and not seen.oddities()

            await wait_until(whole, words="the group is whole", deadline_s=WITHIN_S)
        await whole_at(EAST)

    asyncio.run(story())
    kept = told("decisions")["decisions"]
    assert all(each["outcome"] for each in kept if each["verdict"] == "do")
    assert any((each["outcome"] or {}).get("interrupted") for each in kept)


def test_who_is_on_a_host_in_maintenance_goes_to_the_other_host_of_the_site(place: Place, tmp_path: Path) -> None:
    leave = tmp_path / "leave.yaml"
    leave.write_text("rules:\n  leave: {when: host-maintenance, do: evacuate, hold: 1 s}\n")
    left = asyncio.run(look(LAB)).snapshot.placement[place.service.chain[0][0]]

    async def story() -> None:
        async with (
            RulesAtWork(LAB, rules=leave, out=tmp_path) as rules,
            Users(place, Load(sessions=40, message_interval_s=1.0), tmp_path / "users") as users,
        ):
            began = time.time()
            await asyncio.to_thread(told, "maintenance", left, "--reason", "a new disk")
            decided = await rules.wait_news(is_do, within_s=WITHIN_S)
            assert (decided["action"], decided["target"], decided["leaves"]) == ("evacuate", EAST, left)
            assert (await outcome_of(rules, decided))["outcome"] == "committed"
            await users.wait_logged(time.time())
            sessions = (await asyncio.to_thread(users.read)).sessions(start=began, end=time.time())
            assert (sessions["survived"], sessions["reset"]) == (40, 0)
            assert len(list(filter(is_do, rules.news))) == 1
        await whole_at(EAST)
        seen = await look(LAB)
        assert left not in seen.snapshot.placement.values()
        assert (seen.oddities(), seen.stretched) == ([], {})

    try:
        asyncio.run(story())
    finally:
        told("maintenance", left, "--over")
    report = json.loads(next((tmp_path / "moves").glob("*.json")).read_text())
    assert (report["source"], report["target"], report["ingress"], report["left_over"]) == (EAST, EAST, None, [])


def test_nothing_is_decided_when_a_link_is_cut(place: Place, tmp_path: Path) -> None:
    async def story() -> None:
        async with RulesAtWork(LAB, rules=FAILOVER, out=tmp_path) as rules:
            await until_fresh(place)
            status = await look_at_quorum(place)
            terms = next(told["terms"] for told in status.told.values() if told)
            lease = float(terms["lease"] + terms["margin"])
            await cut_link(place, LINK)
            cut = time.monotonic()

            async def long_enough() -> bool:
                return time.monotonic() - cut > 1.5 * lease

            await wait_until(long_enough, words="longer than a lease", deadline_s=WITHIN_S)
            seen = sites_seen(place, await look_at_quorum(place))
            await heal_link(place, LINK)
            assert seen.states == {EAST: SiteState.UP, WEST: SiteState.UP}
            assert not any(seen.may_act.values())
            assert not any(map(is_do, rules.news))
        await whole_at(EAST)

    asyncio.run(story())


def test_a_failover_is_tried_from_the_replicas_and_leaves_nothing(place: Place, tmp_path: Path) -> None:
    before = leftovers(LAB, root=lab_root())
    report = told("test-failover", "--to", WEST, "--out", str(tmp_path))
    assert (report["outcome"], report["problems"], report["left_over"]) == ("served", [], [])
    assert report["requests"]["answered"] > 0
    assert set(report["data_of"]) == {"web1", "web2"}
    assert left_bubbles(place) == {}
    assert [line for line in leftovers(LAB, root=lab_root()) if "-test" in line] == []
    assert len(leftovers(LAB, root=lab_root())) <= len(before)
    asyncio.run(whole_at(EAST))


def test_a_site_that_dies_is_failed_over_and_comes_back_with_its_old_disks_put_aside(
    place: Place, tmp_path: Path
) -> None:
    async def story() -> dict[str, Any]:
        async with RulesAtWork(LAB, rules=FAILOVER, out=tmp_path) as rules:
            await until_fresh(place)
            await kill_site(place, EAST)
            decided = await rules.wait_news(is_do, within_s=WITHIN_S)
            assert (decided["rule"], decided["target"]) == ("fail-over", WEST)
            ended = await outcome_of(rules, decided)
            assert (ended["outcome"], ended["problems"]) == ("failed-over", [])
            await whole_at(WEST)
            await revive_site(place, EAST)
            await until_up(place, EAST)
            assert not any(host.startswith("east/") for _, host in place.copies())
            kept = old_disks(place)
            assert {(each.disk.member, site_of(each.host)) for each in kept} == {("web1", EAST), ("web2", EAST)}
            assert all(each.disk.bytes for each in kept)
            assert len(list(filter(is_do, rules.news))) == 1
        await whole_at(WEST)
        return ended

    ended = asyncio.run(story())
    assert ended["data_age_s"] <= (place.service.rpo_s or 0.0)
    back = told("move", "--back", "--sessions", "0", "--out", str(tmp_path))
    assert (back["outcome"], back["left_over"]) == ("committed", [])
    asyncio.run(whole_at(EAST))
    names = sorted(each.name for each in old_disks(place))
    assert len(names) == 2  # the move has not touched them
    assert told("replicas", "--discard-kept", names[0])["discarded"] == names[:1]
    assert told("replicas", "--discard-kept", "all")["discarded"] == names[1:]
    assert old_disks(place) == []
