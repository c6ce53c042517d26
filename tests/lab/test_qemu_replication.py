"""A second copy of a member's disk on real QEMUs: whole at every moment, whatever is killed, and nothing is left."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from test_qemu_conformance import CHECK_DEADLINE_S, SOURCE, TARGET, LonelyMachines, certify, lonely_machines, unwell
from test_qemu_disk import AUTHORITY, DISK, INIT, STORER

from entourage.drivers.qemu.disk import STAGE
from entourage.drivers.qemu.driver import QemuHypervisor
from entourage.drivers.qemu.monitor import Monitor
from entourage.drivers.qemu.process import instance_paths
from entourage.drivers.qemu.replica import ReplicaFiles
from entourage.drivers.qemu.replication import QemuReplication
from entourage.lab import layers
from entourage.lab.accel import usable_accel
from entourage.model.ids import HostId
from entourage.model.replication import Generation
from entourage.ports.conformance.kit import wait_until
from entourage.ports.errors import DriverError, PermanentError, TemporaryError
from entourage.ports.hypervisor import RunState

pytestmark = pytest.mark.lab

PACE, SLOW = 50e6, 1e5
CLUSTER, DIRTY = 1 << 16, 20  # bytes that are sent at least of what was written, and how many of them in these tests
SPREAD = INIT.replace(b"beat %", b"beat * 131 %")  # each of its records makes another part of the disk to be sent


@pytest.fixture(scope="module")
def machines() -> Iterator[LonelyMachines]:
    with lonely_machines(is_encrypted=True, init=SPREAD, layer_names=(layers.BASE, layers.DISK)) as made:
        for host in (SOURCE, TARGET):
            certify(made, host, AUTHORITY)
        yield made


@asynccontextmanager
async def running(
    machines: LonelyMachines, *, within_s: float = CHECK_DEADLINE_S
) -> AsyncIterator[tuple[QemuHypervisor, QemuReplication]]:
    """The member on SOURCE with some records on its disk, and no replica yet; in the end nothing is left of either."""
    driver = QemuHypervisor(machines, accel=usable_accel())
    replication = QemuReplication(machines, driver, hosts=(SOURCE, TARGET))
    try:
        async with asyncio.timeout(within_s):
            await driver.create(STORER, SOURCE)
            await machines.wait_beats(SOURCE, count=5)
            yield driver, replication
    finally:
        for host in (SOURCE, TARGET):
            await driver.remove(STORER.id, host)
            await replication.remove(STORER.id, host)
        await driver.close()
        assert [path for host in (SOURCE, TARGET) for path in machines.access(host).run_dir.glob("*")] == []


def records(path: Path) -> list[int]:
    """The beats in a disk's image, in their order."""
    content = path.read_bytes()
    blocks = (content[at : at + 512] for at in range(0, len(content), 512))
    return sorted(int(block.split()[1]) for block in blocks if block.startswith(b"beat "))


async def copied(replication: QemuReplication, machines: LonelyMachines, *, host: HostId = TARGET) -> list[int]:
    """The records in the last valid generation."""
    to = machines.directory / "looked-at"
    await replication.copy(STORER.id, host, to=to)
    try:
        return records(to)
    finally:
        to.unlink()


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["in the clear", "encrypted"])
def test_what_was_written_before_a_round_is_in_the_replica(is_encrypted: bool, machines: LonelyMachines) -> None:
    machines = replace(machines, is_encrypted=is_encrypted)

    async def work() -> None:
        async with running(machines) as (_, replication):
            assert await replication.source(STORER.id) == SOURCE
            sent = []
            for number in (1, 2, 3):
                last = machines.beats(SOURCE)[-1]
                done = await replication.round(STORER, source=SOURCE, target=TARGET, pace=PACE)
                assert done.number == number
                assert replication.generation(STORER.id, TARGET) == done
                kept = await copied(replication, machines)
                assert kept == list(range(1, len(kept) + 1))
                assert kept[-1] >= last
                sent.append(done.bytes)
                await machines.wait_beats(SOURCE, count=3)
            assert unwell(machines.console(SOURCE)) == []
            assert sent[0] == DISK
            assert max(sent[1:]) < DISK

    asyncio.run(work())


async def left_at_source(machines: LonelyMachines) -> list[object]:
    """What a round must not leave: jobs, images, processes, files; and more than one bitmap."""
    paths = instance_paths(machines.access(SOURCE), STORER.id)
    monitor = Monitor(name="looks", socket=paths.spare_monitor)
    await monitor.connect()
    try:
        nodes = await monitor.execute("query-named-block-nodes", flat=True)
        bitmaps = [each for node in nodes for each in node.get("dirty-bitmaps", ())]
        others = [node["node-name"] for node in nodes if node["node-name"] not in {"disk", "disk-file"}]
        return [*await monitor.execute("query-jobs"), *others, *bitmaps[1:], *block_processes(machines)]
    finally:
        await monitor.close()


def block_processes(machines: LonelyMachines) -> list[Path]:
    """The pid files of the processes that send and receive."""
    return [path for host in (SOURCE, TARGET) for path in machines.access(host).run_dir.glob("*/blocks.pid")]


def replica(machines: LonelyMachines) -> ReplicaFiles:
    return ReplicaFiles(instance_paths(machines.access(TARGET), STORER.id).replica)


async def arriving(machines: LonelyMachines) -> None:
    """Until a part of a slow round has come, and not yet all."""

    async def some() -> bool:
        return replica(machines).round.exists() and replica(machines).round.stat().st_blocks * 512 > 6 * CLUSTER

    await wait_until(some, words="a part of the round at the target", deadline_s=CHECK_DEADLINE_S)


def test_a_member_starts_with_what_the_replica_has_and_the_replica_stays_until_it_is_removed(
    machines: LonelyMachines,
) -> None:
    async def work() -> None:
        async with running(machines) as (driver, replication):
            await machines.wait_beats(SOURCE, count=20)
            done = await replication.round(STORER, source=SOURCE, target=TARGET, pace=PACE)
            kept = await copied(replication, machines)
            await driver.remove(STORER.id, SOURCE)
            started = await replication.start(STORER, TARGET)
            assert started == done
            await machines.wait_beats(TARGET, count=5)
            with pytest.raises(PermanentError, match="a copy is there already"):
                await replication.start(STORER, TARGET)
            assert unwell(machines.console(TARGET)) == []
            assert len(kept) > machines.beats(TARGET)[-1]  # what it has written itself are the first ones
            assert records(instance_paths(machines.access(TARGET), STORER.id).disk) == kept
            assert await copied(replication, machines) == kept
            assert sorted(path.name for path in replica(machines).folder.iterdir()) == ["disk", "lock", "record"]
            await driver.remove(STORER.id, TARGET)
            await replication.remove(STORER.id, TARGET)
            with pytest.raises(PermanentError, match="no replica"):
                await replication.start(STORER, TARGET)
            assert await driver.look(STORER.id, TARGET) is RunState.ABSENT

    asyncio.run(work())


REPLICATOR = """
import asyncio, sys
from pathlib import Path
from test_qemu_replication import *
machines = LonelyMachines(directory=Path(sys.argv[1]), is_encrypted=True)
replication = QemuReplication(machines, None, hosts=(SOURCE, TARGET))
asyncio.run(replication.round(STORER, source=SOURCE, target=TARGET, pace=float(sys.argv[2])))
"""


def receiver(machines: LonelyMachines) -> int:
    return int((replica(machines).folder / "blocks.pid").read_text())


def sender(machines: LonelyMachines) -> int:
    return int((instance_paths(machines.access(SOURCE), STORER.id).sending / "blocks.pid").read_text())


async def is_as_before_and_goes_on(
    replication: QemuReplication, machines: LonelyMachines, before: Generation, kept: list[int]
) -> Generation:
    """A round that failed has changed nothing, and the next one makes up for it, sending only what is new."""
    assert replication.generation(STORER.id, TARGET) == before
    assert await copied(replication, machines) == kept
    last = machines.beats(SOURCE)[-1]
    after = await replication.round(STORER, source=SOURCE, target=TARGET, pace=PACE)
    assert after.number == before.number + 1
    assert after.bytes < DISK
    now = await copied(replication, machines)
    assert now == list(range(1, len(now) + 1))
    assert now[-1] >= last
    assert unwell(machines.console(SOURCE)) == []
    assert await left_at_source(machines) == []
    return after


async def slow_round(replication: QemuReplication, machines: LonelyMachines) -> asyncio.Task[Generation]:
    """One that sends what was written meanwhile, and of which a part has come."""
    await machines.wait_beats(SOURCE, count=DIRTY)
    slow = asyncio.create_task(replication.round(STORER, source=SOURCE, target=TARGET, pace=SLOW))
    await arriving(machines)
    return slow


async def receiver_is_killed(replication: QemuReplication, machines: LonelyMachines) -> None:
    slow = await slow_round(replication, machines)
    os.kill(receiver(machines), signal.SIGKILL)
    with pytest.raises(DriverError):
        await slow


async def sender_is_killed(replication: QemuReplication, machines: LonelyMachines) -> None:
    slow = await slow_round(replication, machines)
    os.kill(sender(machines), signal.SIGKILL)
    with pytest.raises(DriverError):
        await slow


async def receiver_stands_still(replication: QemuReplication, machines: LonelyMachines) -> None:
    """A round that gets no further is given up."""
    slow = await slow_round(replication, machines)
    os.kill(receiver(machines), signal.SIGSTOP)
    with pytest.raises(TemporaryError, match="no further"):
        await slow


async def replicator_is_killed(_: QemuReplication, machines: LonelyMachines) -> None:
    await machines.wait_beats(SOURCE, count=DIRTY)
    command = [sys.executable, "-c", REPLICATOR, str(machines.directory), str(SLOW)]
    replicator = await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parent)
    try:
        await arriving(machines)
    finally:
        replicator.kill()
        await replicator.wait()
    assert block_processes(machines) != []


async def it_is_called_off(replication: QemuReplication, machines: LonelyMachines) -> None:
    slow = await slow_round(replication, machines)
    slow.cancel()
    await asyncio.wait({slow})
    assert await left_at_source(machines) == []


def test_whatever_ends_a_round_the_last_generation_is_good_and_the_next_round_makes_up_for_it(
    machines: LonelyMachines,
) -> None:
    ends = (receiver_is_killed, sender_is_killed, receiver_stands_still, replicator_is_killed, it_is_called_off)

    async def work() -> None:
        async with running(machines, within_s=2 * CHECK_DEADLINE_S) as (_, replication):
            before = await replication.round(STORER, source=SOURCE, target=TARGET, pace=PACE)
            for end in ends:
                kept = await copied(replication, machines)
                await end(replication, machines)
                before = await is_as_before_and_goes_on(replication, machines, before, kept)
            await replication.forget(STORER.id, SOURCE)
            assert (await replication.round(STORER, source=SOURCE, target=TARGET, pace=PACE)).bytes == DISK

    asyncio.run(work())


def test_a_round_that_came_whole_counts_although_its_source_died_and_nobody_merged_it(
    machines: LonelyMachines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: object) -> None:
        raise PermanentError("killed before it was merged")

    async def work() -> None:
        async with running(machines) as (driver, replication):
            await replication.round(STORER, source=SOURCE, target=TARGET, pace=PACE)
            await machines.wait_beats(SOURCE, count=3)
            last = machines.beats(SOURCE)[-1]
            with monkeypatch.context() as patched:
                patched.setattr(QemuReplication, "_merge", killed)
                with pytest.raises(PermanentError, match="killed"):
                    await replication.round(STORER, source=SOURCE, target=TARGET, pace=PACE)
            assert replica(machines).standing().is_to_be_merged
            await driver.remove(STORER.id, SOURCE)
            started = await replication.start(STORER, TARGET)
            assert started.number == 2
            now = await copied(replication, machines)
            assert now == list(range(1, len(now) + 1))
            assert now[-1] >= last

    asyncio.run(work())


def test_a_source_that_was_started_anew_sends_everything_again(machines: LonelyMachines) -> None:
    async def work() -> None:
        async with running(machines) as (driver, replication):
            await replication.round(STORER, source=SOURCE, target=TARGET, pace=PACE)
            await driver.remove(STORER.id, SOURCE)
            await driver.create(STORER, SOURCE)
            await machines.wait_beats(SOURCE, count=3)
            again = await replication.round(STORER, source=SOURCE, target=TARGET, pace=PACE)
            assert (again.number, again.bytes) == (2, DISK)
            kept = await copied(replication, machines)
            assert 3 <= len(kept) <= machines.beats(SOURCE)[-1]

    asyncio.run(work())


def test_a_member_moves_in_the_middle_of_a_round_and_is_replicated_from_where_it_runs(machines: LonelyMachines) -> None:
    async def work() -> None:
        async with running(machines) as (driver, replication):
            slow = asyncio.create_task(replication.round(STORER, source=SOURCE, target=TARGET, pace=SLOW))
            await arriving(machines)
            await driver.prepare(STORER, TARGET)
            await driver.copy(STORER, source=SOURCE, target=TARGET, progress=lambda _: None)
            await driver.stop(STORER, source=SOURCE)
            await driver.drain(STORER, source=SOURCE, target=TARGET)
            await driver.resume(STORER, TARGET)
            slow.cancel()
            await asyncio.wait({slow})
            await driver.remove(STORER.id, SOURCE)
            await machines.wait_beats(TARGET, count=3)
            last = machines.beats(TARGET)[-1]
            assert await replication.source(STORER.id) == TARGET
            back = await replication.round(STORER, source=TARGET, target=SOURCE, pace=PACE)
            assert (back.number, back.bytes) == (1, DISK)
            kept = await copied(replication, machines, host=SOURCE)
            assert kept == list(range(1, len(kept) + 1))
            assert kept[-1] >= last

    asyncio.run(work())


def test_a_move_ends_the_copy_for_a_round_that_is_in_its_way(machines: LonelyMachines) -> None:
    async def work() -> None:
        async with running(machines) as (driver, _):
            paths = instance_paths(machines.access(SOURCE), STORER.id)
            monitor = Monitor(name="stages", socket=paths.replication_monitor)
            await monitor.connect()
            await monitor.execute("blockdev-add", driver="null-co", node_name="nowhere", size=DISK)
            await monitor.execute(
                "blockdev-backup", job_id=STAGE, device="disk", target="nowhere", sync="full", speed=1
            )
            await driver.prepare(STORER, TARGET)
            await driver.copy(STORER, source=SOURCE, target=TARGET, progress=lambda _: None)
            assert [job["id"] for job in await monitor.execute("query-jobs")] == ["mirror"]
            await monitor.close()
            await driver.stop(STORER, source=SOURCE)
            await driver.drain(STORER, source=SOURCE, target=TARGET)
            await driver.resume(STORER, TARGET)
            await machines.wait_beats(TARGET, count=3)

    asyncio.run(work())
