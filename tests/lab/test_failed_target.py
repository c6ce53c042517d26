"""A service that runs whole at its target and is not served there."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entourage.lab import names
from entourage.lab.daemons import own_command
from entourage.lab.place import Place, open_place
from entourage.model.ids import SiteId
from entourage.operations.driving import is_being_driven
from entourage.operations.examples import example
from entourage.operations.labs import look, take_down
from entourage.operations.recovering import all_moves

pytestmark = pytest.mark.lab

LAB = "t-failed"
EAST, WEST = SiteId("east"), SiteId("west")
WITHIN_S = 240


@pytest.fixture
def place(lab_requirements: Path, tmp_path: Path) -> Iterator[Place]:
    """A lab with its service running at `east`, in which the edge of `west` drops what is for the service.

    The service's own file says that it is to be moved back then.
    """
    asyncio.run(take_down(LAB))
    service = tmp_path / "shop.yaml"
    service.write_text(f"{example('shop.yaml').read_text()}\nif-unverified: move-back\n")
    try:
        subprocess.run(
            own_command("lab", "up", "--lab", LAB, "--rate", "500 Mbit/s", "--service", str(service)),
            check=True,
            timeout=200,
        )
        place = open_place(LAB)
        edge = place.fabric.netns_path(names.edge(WEST))
        dropped = ["ip", "route", "add", "blackhole", f"{place.service.address}/32"]
        subprocess.run(["nsenter", f"--net={edge}", *dropped], check=True)
        yield place
    finally:
        asyncio.run(take_down(LAB))


def move(out: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    command = own_command("move", "--to", WEST, "--sessions", "0", "--lab", LAB, "--out", str(out), "--json", *words)
    done = subprocess.run(command, capture_output=True, timeout=WITHIN_S, check=False, text=True)
    return done.returncode, json.loads(done.stdout), done.stderr


def where() -> set[str]:
    return {host.partition("/")[0] for host in asyncio.run(look(LAB)).snapshot.placement.values()}


def test_it_stays_and_says_so_or_it_is_moved_back_whoever_has_to_do_it(place: Place, tmp_path: Path) -> None:
    code, stayed, said = move(tmp_path, "--if-unverified", "stay")
    assert (code, stayed["outcome"], where()) == (1, "committed", {WEST})
    assert any("no request from" in problem for problem in stayed["unverified"])
    assert f"entourage move --back --lab {LAB}" in said
    subprocess.run(own_command("move", "--back", "--sessions", "0", "--lab", LAB, "--out", str(tmp_path)), check=True)
    assert where() == {EAST}

    code, left, _ = move(tmp_path)
    assert (code, left["outcome"]) == (1, "committed")
    assert where() == {EAST}
    assert left["moved_back_by"] == all_moves(place)[0].move
    assert f"so it was moved back to {EAST}" in left["problems"][-1]
    require_at_rest()

    before = len(all_moves(place))
    victim = [sys.executable, "-m", "entourage.chaos.orchestrator", LAB, WEST, "cleaning", "die"]
    done = subprocess.run(victim, capture_output=True, timeout=WITHIN_S, check=False)
    assert done.returncode == -signal.SIGKILL
    asyncio.run(asyncio.wait_for(moved_back_by_itself(place, before + 2), WITHIN_S))
    require_at_rest()


async def moved_back_by_itself(place: Place, number: int) -> None:
    """Until there are so many moves, and all have ended."""
    while len(known := all_moves(place)) < number or any(m.ended is None for m in known):  # noqa: ASYNC110 - another's
        await asyncio.sleep(0.2)
    while is_being_driven(place):  # noqa: ASYNC110
        await asyncio.sleep(0.2)


def require_at_rest() -> None:
    seen = asyncio.run(look(LAB))
    assert seen.oddities() == []
    assert where() == {EAST}
    assert set(seen.snapshot.ingress.values()) == {EAST}
