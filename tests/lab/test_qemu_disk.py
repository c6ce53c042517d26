"""A member's own disk on real QEMUs: it goes with the member, whole, or stays where it was."""

import asyncio
import hashlib
import os
import signal
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from test_qemu_conformance import (
    CHECK_DEADLINE_S,
    MEMBER,
    SOURCE,
    TARGET,
    LonelyMachines,
    certify,
    conforms,
    lonely_machines,
    unwell,
)

from entourage.drivers.qemu.disk import FIRST_PORT
from entourage.drivers.qemu.driver import QemuHypervisor
from entourage.drivers.qemu.monitor import Monitor
from entourage.drivers.qemu.process import instance_paths, running_pid
from entourage.lab import layers
from entourage.lab.accel import usable_accel
from entourage.lab.certificates import Authority
from entourage.model.ids import HostId
from entourage.ports.conformance import HypervisorConformance
from entourage.ports.errors import DriverError
from entourage.ports.hypervisor import RunState

pytestmark = pytest.mark.lab

BLOCKS = 32 * 1024  # of 512 bytes
DISK = BLOCKS * 512
STORER = replace(MEMBER, disk=DISK)
NBD_OPT_LIST, NBD_REP_ERR_TLS_REQD = 3, 0x80000005
CHECKS = [name for name in HypervisorConformance.checks() if "drain" in name or "migrat" in name]

# Writes its beats into its disk, durably, one after another, and dirties memory as the kit's own guest does.
INIT = (
    b"""\
#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/ttyS0 2>&1
for module in /modules/*.ko; do insmod "$module"; done
mount -t tmpfs tmpfs /run
mkfifo /run/never
exec 3<>/run/never
beat=0
while :; do
    read -r -t 0.05 _ <&3
    beat=$((beat + 1))
    yes "what beat $beat wrote" | dd of=/run/dirty bs=64k count=64 iflag=fullblock conv=notrunc 2>/dev/null
    printf '%-511s\\n' "beat $beat" >/run/record
    dd if=/run/record of=/dev/vda bs=512 seek=$((beat % """
    + str(BLOCKS).encode()
    + b""")) conv=notrunc,fsync 2>/dev/null || echo "not intact"
    echo "alive $beat"
done
"""
)


AUTHORITY = Authority("disk tests")


@pytest.fixture(scope="module")
def machines() -> Iterator[LonelyMachines]:
    with lonely_machines(is_encrypted=True, init=INIT, layer_names=(layers.BASE, layers.DISK)) as made:
        for host in (SOURCE, TARGET):
            certify(made, host, AUTHORITY)
        yield made


@asynccontextmanager
async def running(machines: LonelyMachines) -> AsyncIterator[QemuHypervisor]:
    """A driver, and the member on SOURCE with some records on its disk."""
    driver = QemuHypervisor(machines, accel=usable_accel())
    try:
        async with asyncio.timeout(CHECK_DEADLINE_S):
            await driver.create(STORER, SOURCE)
            await machines.wait_beats(SOURCE, count=5)
            yield driver
    finally:
        for host in (SOURCE, TARGET):
            await driver.remove(STORER.id, host)
        await driver.close()


async def copied(driver: QemuHypervisor) -> None:
    await driver.prepare(STORER, TARGET)
    await driver.copy(STORER, source=SOURCE, target=TARGET, progress=lambda _: None)


def disk(machines: LonelyMachines, host: HostId) -> Path:
    return instance_paths(machines.access(host), STORER.id).disk


def records(machines: LonelyMachines, host: HostId) -> list[int]:
    """The beats on the disk there, in their order."""
    content = disk(machines, host).read_bytes()
    blocks = (content[at : at + 512] for at in range(0, len(content), 512))
    return sorted(int(block.split()[1]) for block in blocks if block.startswith(b"beat "))


def checksum(machines: LonelyMachines, host: HostId) -> str:
    return hashlib.sha256(disk(machines, host).read_bytes()).hexdigest()


async def jobs(machines: LonelyMachines) -> list[object]:
    monitor = Monitor(name="spare", socket=instance_paths(machines.access(SOURCE), STORER.id).spare_monitor)
    await monitor.connect()
    try:
        nodes = [node["node-name"] for node in await monitor.execute("query-named-block-nodes")]
        return [*(await monitor.execute("query-block-jobs")), *(name for name in nodes if name == "disk-at-target")]
    finally:
        await monitor.close()


async def goes_on(machines: LonelyMachines, host: HostId) -> None:
    """The guest there writes further records."""
    last = records(machines, host)[-1]
    await machines.wait_beats(host, count=5)
    assert unwell(machines.console(host)) == []
    assert records(machines, host)[-1] >= last + 4


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["in the clear", "encrypted"])
def test_what_was_written_until_the_stop_is_there_after_the_switch(
    is_encrypted: bool, machines: LonelyMachines
) -> None:
    machines = replace(machines, is_encrypted=is_encrypted)

    async def work() -> None:
        async with running(machines) as driver:
            await copied(driver)
            await machines.wait_beats(SOURCE, count=3)  # written while the mirror was ready
            await driver.refresh(STORER, source=SOURCE, pace=3e6)
            await driver.stop(STORER, source=SOURCE)
            await driver.drain(STORER, source=SOURCE, target=TARGET)
            written = records(machines, SOURCE)
            assert written == list(range(1, len(written) + 1))
            assert checksum(machines, TARGET) == checksum(machines, SOURCE)
            await driver.resume(STORER, TARGET)
            await goes_on(machines, TARGET)
            assert records(machines, SOURCE) == written
            kept = records(machines, TARGET)
            assert kept == list(range(1, len(kept) + 1))

    asyncio.run(work())


def test_after_an_abort_the_sources_disk_is_the_one_that_counts(machines: LonelyMachines) -> None:
    async def work() -> None:
        async with running(machines) as driver:
            await copied(driver)
            await driver.stop(STORER, source=SOURCE)
            await driver.drain(STORER, source=SOURCE, target=TARGET)
            await driver.abandon(STORER, source=SOURCE)
            await driver.resume(STORER, SOURCE)
            await driver.remove(STORER.id, TARGET)
            await goes_on(machines, SOURCE)
            assert await jobs(machines) == []
            assert not disk(machines, TARGET).exists()

    asyncio.run(work())


def test_a_source_whose_target_dies_goes_on_with_its_own_disk(machines: LonelyMachines) -> None:
    async def work() -> None:
        async with running(machines) as driver:
            await copied(driver)
            pid = running_pid(instance_paths(machines.access(TARGET), STORER.id))
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await goes_on(machines, SOURCE)
            await driver.abandon(STORER, source=SOURCE)
            await goes_on(machines, SOURCE)
            assert await jobs(machines) == []

    asyncio.run(work())


def test_who_recovers_ends_a_mirror_that_it_knows_nothing_of(machines: LonelyMachines) -> None:
    async def work() -> None:
        async with running(machines) as driver:
            await copied(driver)
            assert await jobs(machines) != []
            children = [instance.child for instance in driver._instances.values()]
            await driver.close()  # its gate breaks with it, as when the process dies
            other = QemuHypervisor(machines, accel=usable_accel())
            await other.abandon(STORER, source=SOURCE)
            assert await other.look(STORER.id, SOURCE) is RunState.RUNNING
            assert await jobs(machines) == []
            await goes_on(machines, SOURCE)
            for host in (SOURCE, TARGET):
                await other.remove(STORER.id, host)
            await other.close()
            for child in children:
                assert child is not None
                await asyncio.to_thread(child.wait)

    asyncio.run(work())


@pytest.mark.parametrize("name", CHECKS)
def test_qemu_conforms_with_a_disk(name: str, machines: LonelyMachines) -> None:
    assert conforms(name, machines, STORER)


def test_a_mirror_from_or_to_an_impostor_fails_and_the_source_goes_on(machines: LonelyMachines) -> None:
    async def work() -> None:
        async with running(machines) as driver:
            await driver.prepare(STORER, TARGET)
            with pytest.raises(DriverError):
                await driver.copy(STORER, source=SOURCE, target=TARGET, progress=lambda _: None)
            await driver.abandon(STORER, source=SOURCE)
            assert await jobs(machines) == []
            assert set(disk(machines, TARGET).read_bytes()) == {0}
            await goes_on(machines, SOURCE)

    for impostor in (SOURCE, TARGET):
        certify(machines, impostor, Authority("somebody else's"))
        try:
            asyncio.run(work())
        finally:
            certify(machines, impostor, AUTHORITY)


@pytest.mark.alone  # it connects to a fixed port
def test_an_export_tells_nobody_anything_in_the_clear(machines: LonelyMachines) -> None:
    async def work() -> None:
        async with running(machines) as driver:
            await driver.prepare(STORER, TARGET)
            reader, writer = await asyncio.open_connection("127.0.0.1", FIRST_PORT)
            await reader.readexactly(18)
            writer.write(struct.pack(">I8sII", 1, b"IHAVEOPT", NBD_OPT_LIST, 0))
            *_, answer, _ = struct.unpack(">QIII", await reader.readexactly(20))
            writer.close()
            assert answer == NBD_REP_ERR_TLS_REQD

    asyncio.run(work())
