"""A whole service whose servers have disks, over encrypted streams: moved, and put back by whoever recovers it."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from entourage.chaos.disks import disk_problems, records
from entourage.lab.daemons import own_command
from entourage.lab.place import Place, open_place
from entourage.model.ids import MemberId, SiteId
from entourage.operations.driving import is_being_driven
from entourage.operations.examples import example
from entourage.operations.labs import look, take_down
from entourage.operations.recovering import open_moves

pytestmark = pytest.mark.lab

LAB = "t-disks"
EAST, WEST = SiteId("east"), SiteId("west")
SERVERS = (MemberId("web1"), MemberId("web2"))
WITHIN_S = 240


@pytest.fixture(scope="module")
def place(lab_requirements: Path) -> Iterator[Place]:
    """A lab with its service running at `east`."""
    asyncio.run(take_down(LAB))
    words = ("lab", "up", "--lab", LAB, "--rate", "500 Mbit/s")
    try:
        up = own_command(*words, "--service", str(example("shop-moves-back.yaml")))
        subprocess.run(up, check=True, timeout=200)
        yield open_place(LAB)
    finally:
        asyncio.run(take_down(LAB))


async def goes_on_at(place: Place, site: SiteId) -> None:
    """Everything runs there, each server writes further records, and none was lost on the way."""
    seen = await look(LAB)
    assert seen.oddities() == []
    assert {host.partition("/")[0] for host in seen.snapshot.placement.values()} == {site}
    assert await disk_problems(place, seen.snapshot.placement) == []
    (other,) = {EAST, WEST} - {site}
    hosts = [host.id for host in place.infrastructure.site(other).hosts]
    assert [(member, host) for member in SERVERS for host in hosts if records(place, member, host)] == []


def test_it_moves_with_its_disks(place: Place, tmp_path: Path) -> None:
    asyncio.run(goes_on_at(place, EAST))
    words = ("move", "--to", WEST, "--sessions", "50", "--lab", LAB, "--out", str(tmp_path), "--json")
    done = subprocess.run(own_command(*words), capture_output=True, text=True, timeout=WITHIN_S, check=False)
    report = json.loads(done.stdout)
    assert (done.returncode, report["outcome"], report["problems"]) == (0, "committed", []), done.stderr
    assert report["sessions"]["survived"] == report["sessions"]["opened"] > 0
    asyncio.run(goes_on_at(place, WEST))


def test_after_its_orchestrator_was_killed_in_the_drain_the_disks_at_the_source_count(place: Place) -> None:
    (home,) = {SiteId(host.partition("/")[0]) for host in asyncio.run(look(LAB)).snapshot.placement.values()}
    (target,) = {EAST, WEST} - {home}
    victim = [sys.executable, "-m", "entourage.chaos.orchestrator", LAB, target, "draining", "die"]
    done = subprocess.run(victim, capture_output=True, timeout=WITHIN_S, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    async def ended_by_itself() -> None:
        async with asyncio.timeout(WITHIN_S):
            while open_moves(place) or is_being_driven(place):  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.1)

    asyncio.run(ended_by_itself())
    asyncio.run(goes_on_at(place, home))
