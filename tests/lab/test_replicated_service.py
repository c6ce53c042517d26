"""A service in a lab whose disks are replicated: kept fresh, through a move, and nothing is left when that ends."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from whole_lab import WITHIN_S, Entourage, lab_up, pair

from entourage.chaos.disks import records
from entourage.drivers.qemu.monitor import Monitor
from entourage.drivers.qemu.process import instance_paths
from entourage.lab.daemons import own_command
from entourage.lab.leftovers import command_of, namespaces, processes_in
from entourage.lab.place import Place
from entourage.model.ids import HostId, MemberId, SiteId, site_of
from entourage.operations.labs import look, take_down
from entourage.operations.replicating import replica_states
from entourage.planner.replicating import ReplicaState
from entourage.wiring import replication_of

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

LAB = "t-replicas"
EAST, WEST = SiteId("east"), SiteId("west")
WEB1 = MemberId("web1")


@pytest.fixture(scope="module")
def place(lab_requirements: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A lab with its service running at `east`."""
    with lab_up(LAB, *pair(tmp_path_factory.mktemp("spec"), "rpo: 3 s")) as made:
        yield made


@contextmanager
def replicating() -> Iterator[subprocess.Popen[str]]:
    """`entourage replicate` beside us, ended by Ctrl-C."""
    command = own_command("replicate", "--lab", LAB)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def wait_until(so: Callable[[list[ReplicaState]], bool], place: Place) -> list[ReplicaState]:
    """Until the states are so."""

    async def wait() -> list[ReplicaState]:
        async with asyncio.timeout(WITHIN_S):
            while not so(states := replica_states(place)):  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.05)
            return states

    return asyncio.run(wait())


def all_of(source: SiteId, *, number: int) -> Callable[[list[ReplicaState]], bool]:
    """Every member has that many generations taken at that site."""

    def so(states: list[ReplicaState]) -> bool:
        last = [state.generation for state in states]
        return all(each is not None and site_of(each.source) == source and each.number >= number for each in last)

    return so


async def left_in(place: Place, host: HostId) -> list[object]:
    """Bitmaps, jobs and images of replication in web1's QEMU."""
    monitor = Monitor(name="looks", socket=instance_paths(place.access(host), WEB1).spare_monitor)
    await monitor.connect()
    try:
        nodes = await monitor.execute("query-named-block-nodes", flat=True)
        bitmaps = [each for node in nodes for each in node.get("dirty-bitmaps", ())]
        others = [node["node-name"] for node in nodes if node["node-name"] not in {"disk", "disk-file"}]
        return [*await monitor.execute("query-jobs"), *others, *bitmaps]
    finally:
        await monitor.close()


def block_processes() -> list[str]:
    return [command for pid in processes_in(namespaces(LAB)) if "-machine none" in (command := command_of(pid))]


def test_replicas_are_kept_through_a_move_and_nothing_but_they_is_left(place: Place, tmp_path: Path) -> None:
    entourage = Entourage(tmp_path, lab=LAB)
    with replicating():
        wait_until(all_of(EAST, number=3), place)
        second = entourage("replicate")
        assert (second.returncode, "replicated by another process already" in second.stderr) == (1, True)
        report = entourage.json("move", "--to", WEST, "--sessions", "20")
        assert (report["outcome"], report["problems"], report["left_over"]) == ("committed", [], [])
        states = wait_until(all_of(WEST, number=2), place)
        assert {site_of(state.host) for state in states if state.host is not None} == {EAST}
        require_what_was_written_to_be_copied(place)
    placement = asyncio.run(look(LAB)).snapshot.placement
    assert asyncio.run(left_in(place, placement[WEB1])) == []
    assert block_processes() == []
    others = [host.id for host in place.infrastructure.site(WEST).hosts]
    assert [host for host in others if instance_paths(place.access(host), WEB1).replica.exists()] == []


def require_what_was_written_to_be_copied(place: Place) -> None:
    """A replica whose round began later has all that its member has written until now."""
    before = records(place, WEB1, asyncio.run(look(LAB)).snapshot.placement[WEB1])
    began_at = time.time()
    taken = lambda state: state.generation is not None and state.generation.taken_at > began_at  # noqa: E731
    states = wait_until(lambda states: all(map(taken, states)), place)
    target = next(state.host for state in states if state.member == WEB1)
    assert target is not None
    assert before
    folder = instance_paths(place.access(target), WEB1).replica
    copy = folder.parent / "looked-at.disk"
    try:
        asyncio.run(replication_of(place).copy(WEB1, target, to=copy))
        assert before <= records(place, MemberId("looked-at"), target)
    finally:
        copy.unlink(missing_ok=True)


def test_it_ends_when_the_lab_is_taken_down_and_leaves_nothing(place: Place) -> None:
    with replicating() as process:
        wait_until(lambda states: all("nobody" not in (state.problem or "") for state in states), place)
        asyncio.run(take_down(LAB))
        said, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 1
    assert f"lab {LAB} is gone" in said
    assert not place.run_dir.exists()
    assert namespaces(LAB) == []
