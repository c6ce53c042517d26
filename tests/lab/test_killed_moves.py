"""An orchestrator that is killed at a named point of a move, and what becomes of the move."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from whole_lab import home_and_other, lab_up, move_killed_in, pair, require_at_rest, until_over

from entourage.chaos.disks import disk_problems, records
from entourage.lab.place import Place
from entourage.model.ids import MemberId, SiteId, site_of
from entourage.operations.labs import look
from entourage.operations.observe import Observation
from entourage.operations.recovering import all_moves, open_moves, take_over
from entourage.operations.switching import Shown
from entourage.ports.hypervisor import RunState
from entourage.wiring import wire

pytestmark = pytest.mark.lab

LAB = "t-killed"
WEB1 = MemberId("web1")
BEFORE_COMMIT = ("preparing", "copying", "converging", "stopping", "draining", "disarming", "committing")
AFTER_COMMIT = ("resuming", "verifying", "cleaning")
RUNS_AGAIN_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def place(lab_requirements: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A lab with its service running: its members at two hosts, so a move has two guards at either site."""
    with lab_up(LAB, *pair(tmp_path_factory.mktemp("spec"), "if-unverified: move-back")) as made:
        assert len(set(asyncio.run(look(LAB)).snapshot.placement.values())) == 2
        yield made


def killed_in(place: Place, state: str) -> tuple[SiteId, SiteId]:
    """Begin a move to the other site and have it killed in this state: from where to where it was to go."""
    home, other = home_and_other(place)
    move_killed_in(LAB, other, state)
    return home, other


async def all_run_at(site: SiteId) -> Observation:
    """What is seen as soon as every member runs there, whatever else there is."""
    async with asyncio.timeout(RUNS_AGAIN_WITHIN_S):
        while True:
            seen = await look(LAB)
            running = [host for (_, host), state in seen.copies.items() if state is RunState.RUNNING]
            if len(running) == len(seen.snapshot.service.members) and set(map(site_of, running)) == {site}:
                return seen
            await asyncio.sleep(0.1)


def ended_by_itself(place: Place) -> Mapping[str, Any]:
    """What became of the latest move, when somebody has brought it to its end whom nobody asked to."""
    asyncio.run(until_over(place))
    ended = all_moves(place)[0].ended
    assert ended is not None
    return ended


async def recovered(place: Place) -> dict[str, dict[str, Any]]:
    wired = wire(place)
    try:
        return await take_over(wired, Shown(progress=lambda _: None, phase=lambda _: None))
    finally:
        await wired.close()


def require_one_disk_at(place: Place, site: SiteId) -> None:
    """The server's disk is there, and nowhere else."""
    hosts = [host.id for each in place.infrastructure.sites for host in each.hosts]
    assert {site_of(host) for host in hosts if records(place, WEB1, host)} == {site}


@pytest.mark.parametrize("state", BEFORE_COMMIT)
def test_killed_before_the_commit_everything_runs_at_the_source_and_is_put_back(place: Place, state: str) -> None:
    home, _ = killed_in(place, state)
    if state not in ("disarming", "committing"):  # from there on it is the next orchestrator who runs them again
        asyncio.run(all_run_at(home))
    if state == "preparing":  # no guard knows of it yet
        assert [move.document["group"]["source_site"] for move in open_moves(place)] == [home]
        (result,) = list[Mapping[str, Any]](asyncio.run(recovered(place)).values())
    else:
        result = ended_by_itself(place)
    assert (result["outcome"], *result["problems"]) == ("rolled-back",)
    require_at_rest(place, home)
    require_one_disk_at(place, home)


@pytest.mark.parametrize("state", AFTER_COMMIT)
def test_killed_after_the_commit_everything_goes_on_to_the_target(place: Place, state: str) -> None:
    _, target = killed_in(place, state)
    result = ended_by_itself(place)
    assert (result["outcome"], *result["problems"]) == ("committed",)
    require_at_rest(place, target)
    require_one_disk_at(place, target)
    assert json.dumps(all_moves(place)[0].ended)


@pytest.mark.parametrize(("state", "outcome"), [("committing", "rolled-back"), ("resuming", "committed")])
def test_killed_within_a_site_whose_hosts_both_have_copies(place: Place, state: str, outcome: str) -> None:
    home, _ = home_and_other(place)
    before = asyncio.run(look(LAB)).snapshot.placement
    move_killed_in(LAB, before[WEB1], state)
    assert ended_by_itself(place)["outcome"] == outcome
    require_at_rest(place, home)
    require_one_disk_at(place, home)
    after = asyncio.run(look(LAB)).snapshot.placement
    assert {member for member in before if before[member] != after[member]} == {
        member for member in (WEB1,) if outcome == "committed"
    }


def test_whoever_was_killed_the_disk_has_every_record_and_goes_on(place: Place) -> None:
    """A record that one of the moves before had lost would still be missing."""
    assert asyncio.run(disk_problems(place, asyncio.run(look(LAB)).snapshot.placement)) == []
