"""Real-time CPU on real QEMUs: applied before anything runs, read back from the kernel, and refused with words."""

import asyncio
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

import pytest
from test_qemu_conformance import MEMBER, SOURCE, TARGET, LonelyMachines, a_driver, lonely_machines

from entourage.drivers.qemu import scheduling
from entourage.drivers.qemu.driver import QemuHypervisor
from entourage.drivers.qemu.process import HostAccess, instance_paths, running_pid
from entourage.drivers.qemu.scheduling import Scheduling
from entourage.model.ids import HostId, MemberId
from entourage.model.realtime import Policy, Promise, RealtimeCpus, Reservation
from entourage.model.world import Member
from entourage.ports.errors import PermanentError
from entourage.ports.hypervisor import RunState

pytestmark = [pytest.mark.lab, pytest.mark.alone]

OTHER = MemberId("other")
CPU, IO = Reservation(budget_us=1000, period_us=10_000), Reservation(budget_us=500, period_us=5000)
PROMISED = replace(MEMBER, realtime=Promise(cpu=CPU, io=IO))
FIFO = RealtimeCpus(cpus=(0,))


@dataclass(frozen=True, kw_only=True)
class PromisingMachines(LonelyMachines):
    """Machines with real-time CPU to promise: the last of `offers`."""

    offers: list[RealtimeCpus | None] = field(default_factory=lambda: [FIFO])

    def access(self, host: HostId) -> HostAccess:
        return replace(super().access(host), realtime=self.offers[-1])


@pytest.fixture
def machines() -> Iterator[PromisingMachines]:
    with lonely_machines() as made:
        yield PromisingMachines(directory=made.directory)


async def running(driver: QemuHypervisor, machines: LonelyMachines, member: Member = PROMISED) -> None:
    """Boot it, and let it have what it is promised."""
    await driver.create(member, SOURCE)
    assert all(thread.is_kept for thread in (await driver.promises(SOURCE))[member.id])
    if member.id == MEMBER.id:
        await machines.wait_beats(SOURCE, count=1)
    await driver.resume(member, SOURCE)


def policies(machines: LonelyMachines, host: HostId) -> dict[str, str]:
    """What the kernel says of all threads of the member's QEMU, without those of the same name."""
    pid = running_pid(instance_paths(machines.access(host), MEMBER.id))
    assert pid is not None
    return {name: scheduling.read(tid).policy for tid, name in scheduling.threads(pid).items()}


def test_what_is_promised_is_applied_to_the_virtual_cpu_and_the_main_thread(machines: PromisingMachines) -> None:
    async def work() -> None:
        async with a_driver(machines, OTHER) as driver:
            await running(driver, machines)
            cpu, io = sorted((await driver.promises(SOURCE))[MEMBER.id], key=lambda thread: thread.name)
            assert cpu.name.startswith("CPU 0/")
            assert (cpu.promise, io.promise) == (CPU, IO)
            assert cpu.found == cpu.wanted == "SCHED_FIFO 27 on CPU 0"
            assert io.found == io.wanted == "SCHED_FIFO 30 on CPU 0"
            others = {n: p for n, p in policies(machines, SOURCE).items() if n not in (cpu.name, io.name)}
            assert set(others.values()) == {"SCHED_OTHER"}
            await machines.wait_beats(SOURCE, count=3)
            assert all(thread.ran_us > 0 for thread in (await driver.promises(SOURCE))[MEMBER.id])

    asyncio.run(work())


def test_a_copy_has_it_before_its_source_is_stopped_and_takes_it_away_with_itself(machines: PromisingMachines) -> None:
    async def work() -> None:
        async with a_driver(machines, OTHER) as driver:
            await running(driver, machines)
            await driver.prepare(PROMISED, TARGET)
            assert await driver.look(MEMBER.id, TARGET) is RunState.INCOMING
            for thread in (await driver.promises(TARGET))[MEMBER.id]:
                assert thread.is_kept
                assert thread.wanted.endswith(" on CPU 0, when it is to run")
                assert str(thread.found).startswith("SCHED_OTHER")
            await driver.copy(PROMISED, source=SOURCE, target=TARGET, progress=lambda _: None)
            sending = [
                p for name, p in policies(machines, SOURCE).items() if name in ("mig/src/main", "live_migration")
            ]
            assert sending == ["SCHED_RR"]  # it has QEMU's big lock at times, and neighbours must not hold it up
            await driver.refresh(PROMISED, source=SOURCE, pace=math.inf)
            assert all(thread.found == thread.wanted for thread in (await driver.promises(TARGET))[MEMBER.id])
            await driver.abandon(PROMISED, source=SOURCE)
            await driver.remove(MEMBER.id, TARGET)
            assert await driver.promises(TARGET) == {}
            assert not instance_paths(machines.access(TARGET), MEMBER.id).promise.exists()

    asyncio.run(work())


@pytest.mark.parametrize("realtime", [None, replace(FIFO, limit=Fraction(1, 4))])
def test_a_host_that_cannot_keep_it_takes_no_copy(machines: PromisingMachines, realtime: RealtimeCpus | None) -> None:
    async def work() -> None:
        async with a_driver(machines, OTHER) as driver:
            other = replace(PROMISED, id=OTHER)
            if realtime is not None:
                await running(driver, machines, other)
            machines.offers.append(realtime)
            words = "no real-time CPU to promise" if realtime is None else "has 0.05 of a CPU left for real time"
            with pytest.raises(PermanentError, match=words):
                await driver.create(PROMISED, SOURCE)
            assert await driver.look(MEMBER.id, SOURCE) is RunState.ABSENT
            if realtime is not None:
                assert all(thread.is_kept for thread in (await driver.promises(SOURCE))[other.id])

    asyncio.run(work())


def test_a_thread_that_somebody_has_changed_is_seen(machines: PromisingMachines) -> None:
    async def work() -> None:
        async with a_driver(machines, OTHER) as driver:
            await running(driver, machines)
            pid = running_pid(instance_paths(machines.access(SOURCE), MEMBER.id))
            assert pid is not None
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
            (changed,) = (t for t in (await driver.promises(SOURCE))[MEMBER.id] if not t.is_kept)
            assert changed.promise == IO
            assert changed.found == "SCHED_OTHER on CPU 0"

    asyncio.run(work())


def test_the_kernel_itself_keeps_the_budgets_where_the_host_says_so(machines: PromisingMachines) -> None:
    machines.offers.append(RealtimeCpus(cpus=tuple(range(os.cpu_count() or 1)), policy=Policy.DEADLINE))

    async def work() -> None:
        async with a_driver(machines, OTHER) as driver:
            await running(driver, machines)
            cpu, io = sorted((await driver.promises(SOURCE))[MEMBER.id], key=lambda thread: thread.name)
            assert (cpu.wanted, io.wanted) == (
                "SCHED_DEADLINE 1000 µs in 10000 µs",
                "SCHED_DEADLINE 500 µs in 5000 µs",
            )
            assert cpu.is_kept
            assert io.is_kept
            await machines.wait_beats(SOURCE, count=3)

    asyncio.run(work())


def test_a_fallback_that_was_declared_is_taken_when_the_kernel_refuses_and_told(machines: PromisingMachines) -> None:
    everywhere = RealtimeCpus(cpus=tuple(range(os.cpu_count() or 1)), policy=Policy.DEADLINE)
    too_short = replace(PROMISED, realtime=Promise(cpu=Reservation(budget_us=1, period_us=100), io=IO))

    async def work() -> None:
        async with a_driver(machines, OTHER) as driver:
            machines.offers.append(everywhere)
            with pytest.raises(PermanentError, match="the kernel refuses SCHED_DEADLINE 1 µs in 100 µs"):
                await driver.create(too_short, SOURCE)
            assert await driver.look(MEMBER.id, SOURCE) is RunState.ABSENT
            machines.offers.append(replace(everywhere, fallback=Policy.FIFO))
            await running(driver, machines, too_short)
            for thread in (await driver.promises(SOURCE))[MEMBER.id]:
                assert thread.is_kept
                assert thread.wanted.startswith("SCHED_FIFO")
                assert thread.instead is not None
                assert "SCHED_DEADLINE 1 µs" in thread.instead

    asyncio.run(work())


def test_a_promised_thread_that_spins_does_not_starve_its_host() -> None:
    """Ordinary work on the same CPU goes on, slowly: the kernel keeps a share of it from real time."""
    spin = [sys.executable, "-c", "while True: pass"]
    ordinary = [sys.executable, "-c", "import os; os.sched_setaffinity(0, {0}); print('it goes on')"]
    with subprocess.Popen(spin) as spinning:
        try:
            scheduling.write(spinning.pid, Scheduling(policy="SCHED_FIFO", priority=29, cpus=(0,)))
            assert subprocess.run(ordinary, capture_output=True, timeout=60, check=True).stdout == b"it goes on\n"
            assert scheduling.read(spinning.pid).policy == "SCHED_FIFO"
        finally:
            spinning.kill()


def test_what_the_kernel_refuses_is_said_in_words() -> None:
    pinned = next(iter(os.sched_getaffinity(0)))
    beyond = Scheduling(policy="SCHED_FIFO", priority=50, cpus=(4095,))
    with pytest.raises(PermanentError, match=r"refuses SCHED_FIFO 50 on CPU 4095: no such CPU here"):
        scheduling.write(os.getpid(), beyond)
    too_short = Scheduling(policy="SCHED_DEADLINE", budget_us=10, period_us=20)
    with pytest.raises(PermanentError, match="sched_deadline_period_min_us"):
        scheduling.write(os.getpid(), too_short)
    assert scheduling.read(os.getpid()).policy == "SCHED_OTHER"
    assert pinned in scheduling.read(os.getpid()).cpus


def test_a_sleeping_thread_gets_and_loses_a_deadline_as_often_as_it_likes() -> None:
    """Some kernels keep the bandwidth of one that sleeps meanwhile, until they have none left for anybody."""
    with subprocess.Popen(["sleep", "60"]) as sleeping:
        try:
            for _ in range(40):
                tenth = Scheduling(policy="SCHED_DEADLINE", budget_us=1000, period_us=10_000)
                scheduling.write(sleeping.pid, tenth)
                scheduling.write(sleeping.pid, scheduling.ordinary())
        finally:
            sleeping.kill()
