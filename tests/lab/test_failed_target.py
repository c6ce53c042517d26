"""A service that runs whole at its target and is not served there."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from whole_lab import WITHIN_S, Entourage, lab_up, move_killed_in, pair, require_at_rest, sites_of, until_over

from entourage.lab import names
from entourage.lab.place import Place
from entourage.model.ids import SiteId
from entourage.operations.recovering import all_moves

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

LAB = "t-failed"
EAST, WEST = SiteId("east"), SiteId("west")


@pytest.fixture
def place(lab_requirements: Path, tmp_path: Path) -> Iterator[Place]:
    """A lab with its service running at `east`, in which the edge of `west` drops what is for the service.

    The service's own file says that it is to be moved back then.
    """
    with lab_up(LAB, *pair(tmp_path, "if-unverified: move-back")) as made:
        edge = made.fabric.netns_path(names.edge(WEST))
        dropped = ["ip", "route", "add", "blackhole", f"{made.service.address}/32"]
        subprocess.run(["nsenter", f"--net={edge}", *dropped], check=True)
        yield made


def test_it_stays_and_says_so_or_it_is_moved_back_whoever_has_to_do_it(place: Place, tmp_path: Path) -> None:
    entourage = Entourage(tmp_path, lab=LAB)

    def move(*words: str) -> tuple[int, dict[str, Any], str]:
        done = entourage("move", "--to", WEST, "--sessions", "0", "--json", *words)
        return done.returncode, json.loads(done.stdout), done.stderr

    code, stayed, said = move("--if-unverified", "stay")
    assert (code, stayed["outcome"], sites_of(LAB)) == (1, "committed", {WEST})
    assert any("no request from" in problem for problem in stayed["unverified"])
    assert f"entourage move --back --lab {LAB}" in said
    entourage.json("move", "--back", "--sessions", "0")
    assert sites_of(LAB) == {EAST}

    code, left, _ = move()
    assert (code, left["outcome"]) == (1, "committed")
    assert sites_of(LAB) == {EAST}
    assert left["moved_back_by"] == all_moves(place)[0].move
    assert f"so it was moved back to {EAST}" in left["problems"][-1]
    require_at_rest(place, EAST)

    before = len(all_moves(place))
    move_killed_in(LAB, WEST, "cleaning")
    asyncio.run(asyncio.wait_for(moved_back_by_itself(place, before + 2), WITHIN_S))
    require_at_rest(place, EAST)


async def moved_back_by_itself(place: Place, number: int) -> None:
    """Until there are so many moves, and all have ended."""
    while len(all_moves(place)) < number:  # noqa: ASYNC110 - another process's
        await asyncio.sleep(0.2)
    await until_over(place)
