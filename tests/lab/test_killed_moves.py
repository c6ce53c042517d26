"""An orchestrator that is killed at a named point of a move, and what becomes of the move."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from entourage.lab.daemons import own_command
from entourage.lab.leftovers import is_being_moved
from entourage.lab.place import Place, open_place
from entourage.model.ids import SiteId
from entourage.operations.labs import look, take_down
from entourage.operations.observe import Observation
from entourage.operations.recovering import all_moves, open_moves, take_over
from entourage.operations.switching import Shown
from entourage.ports.hypervisor import RunState
from entourage.wiring import wire

pytestmark = pytest.mark.lab

LAB = "t-killed"
BEFORE_COMMIT = ("preparing", "copying", "converging", "stopping", "draining", "disarming", "committing")
AFTER_COMMIT = ("resuming", "verifying", "cleaning")
RUNS_AGAIN_WITHIN_S = 30.0
ENDS_WITHIN_S = 120.0
# Moves the service to the site, or off the host, and kills itself when the move says that it is in the state.
ORCHESTRATOR = """
import asyncio, os, signal, sys
from entourage.lab.place import open_place
from entourage.operations.moves import run_move
from entourage.operations.switching import Shown
from entourage.planner import MoveRequest, off_host
from entourage.wiring import wire

async def main(lab, target, state):
    place = open_place(lab)
    def phase(name):
        if name == state:
            os.kill(os.getpid(), signal.SIGKILL)
    request = MoveRequest(service=place.service.id, target=target)
    if "/" in target:
        request = off_host(place.infrastructure, place.service.id, target)
    await run_move(wire(place), request, shown=Shown(progress=lambda _: None, phase=phase))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def place(lab_requirements: Path) -> Iterator[Place]:
    """A lab with its service running."""
    asyncio.run(take_down(LAB))
    try:
        command = own_command("lab", "up", "--lab", LAB)
        subprocess.run(command, check=True, timeout=200)  # its own process: this one's children would be the QEMUs
        yield open_place(LAB)
    finally:
        asyncio.run(take_down(LAB))


def killed_in(place: Place, state: str) -> tuple[SiteId, SiteId]:
    """Begin a move to the other site and have it killed in this state: from where to where it was to go."""
    sites = {host.partition("/")[0] for host in asyncio.run(look(LAB)).snapshot.placement.values()}
    (home,) = sites
    other = next(site.id for site in place.infrastructure.sites if site.id != home)
    kill(other, state)
    return SiteId(home), other


def kill(target: str, state: str) -> None:
    """Begin a move to a site, or off a host, and have it killed in this state."""
    done = subprocess.run(
        [sys.executable, "-c", ORCHESTRATOR, LAB, target, state], capture_output=True, timeout=240, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


async def all_run_at(site: SiteId) -> Observation:
    """What is seen as soon as every member runs there, whatever else there is."""
    async with asyncio.timeout(RUNS_AGAIN_WITHIN_S):
        while True:
            seen = await look(LAB)
            running = [host for (_, host), state in seen.copies.items() if state is RunState.RUNNING]
            if len(running) == len(seen.snapshot.service.members) and {h.partition("/")[0] for h in running} == {site}:
                return seen
            await asyncio.sleep(0.1)


async def ended_by_itself(place: Place) -> Mapping[str, Any]:
    """What became of the latest move, when somebody has brought it to its end whom nobody asked to."""
    async with asyncio.timeout(ENDS_WITHIN_S):
        while (move := all_moves(place)[0]).ended is None or is_being_moved(LAB):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return move.ended


async def recovered(place: Place) -> dict[str, dict[str, Any]]:
    wired = wire(place)
    try:
        return await take_over(wired, Shown(progress=lambda _: None, phase=lambda _: None))
    finally:
        await wired.close()


def require_at_rest(place: Place, site: SiteId) -> None:
    seen = asyncio.run(look(LAB))
    assert seen.oddities() == []
    assert {host.partition("/")[0] for host in seen.snapshot.placement.values()} == {site}
    assert set(seen.snapshot.ingress.values()) == {site}
    assert open_moves(place) == []


@pytest.mark.parametrize("state", BEFORE_COMMIT)
def test_killed_before_the_commit_everything_runs_at_the_source_and_is_put_back(place: Place, state: str) -> None:
    home, _ = killed_in(place, state)
    if state not in ("disarming", "committing"):  # from there on it is the next orchestrator who runs them again
        asyncio.run(all_run_at(home))
    if state == "preparing":  # no guard knows of it yet
        assert [move.document["group"]["source_site"] for move in open_moves(place)] == [home]
        (result,) = list[Mapping[str, Any]](asyncio.run(recovered(place)).values())
    else:
        result = asyncio.run(ended_by_itself(place))
    assert (result["outcome"], *result["problems"]) == ("rolled-back",)
    require_at_rest(place, home)


@pytest.mark.parametrize("state", AFTER_COMMIT)
def test_killed_after_the_commit_everything_goes_on_to_the_target(place: Place, state: str) -> None:
    _, target = killed_in(place, state)
    result = asyncio.run(ended_by_itself(place))
    assert (result["outcome"], *result["problems"]) == ("committed",)
    require_at_rest(place, target)
    assert json.dumps(all_moves(place)[0].ended)


@pytest.mark.parametrize(("state", "outcome"), [("committing", "rolled-back"), ("resuming", "committed")])
def test_killed_within_a_site_whose_hosts_both_have_copies(place: Place, state: str, outcome: str) -> None:
    before = asyncio.run(look(LAB)).snapshot.placement
    (site,) = {host.partition("/")[0] for host in before.values()}
    source = before[place.service.chain[0][0]]
    kill(source, state)
    assert asyncio.run(ended_by_itself(place))["outcome"] == outcome
    require_at_rest(place, SiteId(site))
    after = asyncio.run(look(LAB)).snapshot.placement
    if outcome == "rolled-back":
        assert after == before
    else:
        assert source not in after.values()
