"""Licences in a real lab: reserved before anything is made, used by both copies, and free again however a move ends."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from whole_lab import WITHIN_S, lab_up, mover, until_over

from entourage.drivers.qemu.monitor import Monitor
from entourage.drivers.qemu.process import instance_paths
from entourage.lab.daemons import own_command
from entourage.lab.place import Place
from entourage.model.ids import HostId, SiteId
from entourage.operations.examples import example
from entourage.operations.labs import look
from entourage.operations.licences import view
from entourage.operations.recovering import all_moves

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

LAB = "t-licensed"
WEST = SiteId("west")
AT_EAST = {
    "vrouter floating": (1, 0), "vfw at east": (1, 0), "vfw at west": (0, 0), "vlb floating": (1, 0),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(lab_requirements: Path) -> Iterator[Place]:
    """A lab with the licensed service running at `east`."""
    files = ("--service", str(example("shop-licensed.yaml")), "--licences", str(example("licences.yaml")))
    with lab_up(LAB, *files, "--rtt", "10 ms", "--rate", "500 Mbit/s") as made:
        yield made


def pools(place: Place) -> dict[str, tuple[int, int]]:
    """Used and reserved of each."""
    found = view(place, asyncio.run(look(LAB)))
    assert found is not None
    assert found.account.violations == ()
    return {use.pool.words: (use.used, use.reserved) for use in found.account.pools}


@contextmanager
def standing_still(state: str) -> Iterator[None]:
    """A move to west that has come to this state and stands still there; then its orchestrator is killed."""
    command = mover(LAB, WEST, state, "wait")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if json.loads(line).get("state") == state:
                    break
            yield
        finally:
            process.kill()


async def uuids(place: Place, site: str) -> dict[str, str]:
    """What the guests at a site see of themselves, asked of their QEMUs."""
    found = {}
    for member, host in (await look(LAB)).copies:
        if host.startswith(f"{site}/"):
            socket = instance_paths(place.access(HostId(host)), member).spare_monitor
            monitor = Monitor(name=member, socket=socket)
            await monitor.connect()
            found[str(member)] = str((await monitor.execute("query-uuid"))["UUID"])
            await monitor.close()
    return found


def test_seats_are_reserved_before_anything_is_made_and_free_again_once_a_move_was_put_back(place: Place) -> None:
    assert pools(place) == AT_EAST
    reserved = {**AT_EAST, "vfw at west": (0, 1), "vlb floating": (1, 1)}
    with standing_still("preparing"):
        assert pools(place) == reserved
    assert pools(place) == reserved  # no guard is armed so early: it is interrupted until somebody recovers it
    subprocess.run(own_command("recover", "--lab", LAB), check=True, timeout=WITHIN_S)
    assert pools(place) == AT_EAST

    with standing_still("converging"):
        assert pools(place) == {**AT_EAST, "vfw at west": (1, 0), "vlb floating": (2, 0)}
        at_east = asyncio.run(uuids(place, "east"))
        assert asyncio.run(uuids(place, "west")) == at_east
        assert len(set(at_east.values())) == len(place.service.members)
    asyncio.run(until_over(place))
    assert [(move.ended or {})["outcome"] for move in all_moves(place)] == ["rolled-back"] * 2
    assert pools(place) == AT_EAST


def test_a_move_without_licences_is_refused_and_nothing_is_made(place: Place) -> None:
    record = place.run_dir / "lab.json"
    kept = record.read_text()
    data = json.loads(kept)
    lines = [line for line in data["licences"].splitlines() if "site: west" not in line]
    record.write_text(json.dumps({**data, "licences": "\n".join(lines)}))
    try:
        before = len(all_moves(place))
        command = own_command("move", "--to", WEST, "--sessions", "0", "--lab", LAB, "--json")
        done = subprocess.run(command, capture_output=True, timeout=WITHIN_S, check=False, text=True)
        assert done.returncode == 3
        refusal = json.loads(done.stdout)["error"]["refusal"]
        assert [verdict["code"] for verdict in refusal["verdicts"]] == ["licence"]
        assert "there is no pool of it at west" in refusal["verdict"]["reasons"][0]
        assert len(all_moves(place)) == before
        assert asyncio.run(look(LAB)).oddities() == []
    finally:
        record.write_text(kept)


def test_a_move_that_has_committed_has_its_seats_at_the_target(place: Place, tmp_path: Path) -> None:
    command = own_command("move", "--to", WEST, "--sessions", "0", "--lab", LAB, "--out", str(tmp_path))
    subprocess.run(command, check=True, timeout=WITHIN_S)
    assert pools(place) == {**AT_EAST, "vfw at east": (0, 0), "vfw at west": (1, 0)}
