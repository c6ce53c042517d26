"""The real guards: through the conformance kit, and with an armer that is killed, with real QEMUs."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fabric_parts import SERVICE
from test_qemu_conformance import (
    CHECK_DEADLINE_S,
    KIB,
    MEMBER,
    SOURCE,
    TARGET,
    LonelyMachines,
    certify,
    lonely_machines,
)

from entourage.drivers.qemu.driver import QemuHypervisor
from entourage.drivers.qemu.guarding import QemuGuard
from entourage.drivers.qemu.monitor import Monitor
from entourage.drivers.qemu.process import guard_socket, instance_paths, running_pid
from entourage.lab.accel import usable_accel
from entourage.lab.certificates import Authority
from entourage.model.ids import HostId, MemberId
from entourage.ports.conformance import GuardConformance, Guarded, run_check
from entourage.ports.conformance.kit import wait_until
from entourage.ports.errors import OutcomeUnknownError, PermanentError, TemporaryError
from entourage.ports.hypervisor import RunState

pytestmark = pytest.mark.lab

SOON_S, FAR_S, RUNS_WITHIN_S = 0.2, 3600.0, 20.0
PAUSE_S = 0.002
TINIES = [replace(MEMBER, id=MemberId(f"tiny{number}")) for number in range(3)]

# An orchestrator of three members: boots, copies and stops them all, drains some, says so, and waits to be killed.
_ORCHESTRATOR = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fabric_parts import SERVICE
from test_qemu_conformance import SOURCE, TARGET, LonelyMachines
from test_qemu_guard import TINIES, FAR_S
from entourage.drivers.qemu.driver import QemuHypervisor
from entourage.drivers.qemu.guarding import QemuGuard

async def work():
    machines = LonelyMachines(directory=Path(sys.argv[2]), is_encrypted=True)
    driver, guard = QemuHypervisor(machines, accel=sys.argv[3]), QemuGuard(machines)
    for m in TINIES:
        await driver.create(m, SOURCE)
    await guard.arm(SERVICE, {m.id: SOURCE for m in TINIES}, deadline_s=float(sys.argv[4]))
    for m in TINIES:
        await driver.prepare(m, TARGET)
        await driver.copy(m, source=SOURCE, target=TARGET, progress=lambda _: None)
    await asyncio.gather(*(driver.stop(m, source=SOURCE) for m in TINIES))
    for m in TINIES[: int(sys.argv[5])]:
        await driver.drain(m, source=SOURCE, target=TARGET)
    print("here", flush=True)
    await asyncio.Event().wait()

asyncio.run(work())
"""


@contextmanager
def guard_process(machines: LonelyMachines, host: HostId) -> Iterator[subprocess.Popen[bytes]]:
    directory = machines.access(host).run_dir
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "entourage.drivers.qemu.guard", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def guarded() -> Iterator[LonelyMachines]:
    """Two hosts with a guard on each, and with certificates: an encrypted stream is the harder one to break off."""
    authority = Authority("guard tests")
    with lonely_machines(is_encrypted=True) as machines:
        for host in (SOURCE, TARGET):
            certify(machines, host, authority)
        with guard_process(machines, SOURCE) as one, guard_process(machines, TARGET) as other:
            yield machines
            assert one.poll() is None, "the guard has died"
            assert other.poll() is None, "the guard has died"


@pytest.fixture(scope="module")
def accel(guarded: LonelyMachines) -> str:
    assert guarded.directory.is_dir()
    return usable_accel()


def log_of(machines: LonelyMachines, what: str) -> list[dict[str, Any]]:
    """What the guard of the source has noted of that kind."""
    text = (machines.access(SOURCE).run_dir / "guard.jsonl").read_text()
    return [line for line in map(json.loads, text.splitlines()) if line["what"] == what]


@asynccontextmanager
async def afterwards(machines: LonelyMachines, accel: str) -> AsyncIterator[QemuHypervisor]:
    """A driver to look with when the orchestrator is gone; in the end no tiny is left."""
    driver = QemuHypervisor(machines, accel=accel)
    try:
        yield driver
    finally:
        for member in TINIES:
            await driver.remove(member.id, TARGET)
            await driver.remove(member.id, SOURCE)
        await driver.close()


@asynccontextmanager
async def driving(
    machines: LonelyMachines, accel: str, host: HostId
) -> AsyncIterator[tuple[QemuHypervisor, QemuGuard]]:
    """A driver and the guards; in the end the member is not on the host."""
    driver, guard = QemuHypervisor(machines, accel=accel), QemuGuard(machines)
    try:
        yield driver, guard
    finally:
        await driver.remove(MEMBER.id, host)
        await driver.close()
        await guard.close()


async def until(driver: QemuHypervisor, wanted: RunState, members: Sequence[MemberId]) -> None:
    async def is_so() -> bool:
        return {await driver.look(member, SOURCE) for member in members} == {wanted}

    await wait_until(is_so, words=f"{', '.join(members)} {wanted.value}", deadline_s=RUNS_WITHIN_S)


async def noted(machines: LonelyMachines, what: str, *, count: int) -> list[dict[str, Any]]:
    """The lines of that kind, when there are so many."""

    async def are_there() -> bool:
        return len(log_of(machines, what)) >= count

    await wait_until(are_there, words=f"{count} lines of {what!r}", deadline_s=RUNS_WITHIN_S)
    return log_of(machines, what)


@pytest.mark.parametrize("name", GuardConformance.checks())
def test_qemu_guard_conforms(name: str, guarded: LonelyMachines, accel: str) -> None:
    async def work() -> bool:
        driver, guard = QemuHypervisor(guarded, accel=accel), QemuGuard(guarded)
        where = Guarded(service=SERVICE, member=MEMBER, source=SOURCE, target=TARGET, soon_s=SOON_S)
        kit = GuardConformance(
            guard, driver, where=where, booted=lambda: guarded.wait_beats(SOURCE, count=2), gone=guard.close
        )
        try:
            async with asyncio.timeout(CHECK_DEADLINE_S):
                return await run_check(kit, name)
        finally:
            await kit.clear()
            await driver.close()
            await guard.close()

    assert asyncio.run(work())


@contextmanager
def orchestrator(
    machines: LonelyMachines, accel: str, *, drained: int, deadline_s: float = FAR_S
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has armed the guard and stopped all tinies."""
    arguments = [str(Path(__file__).parent), str(machines.directory), accel, str(deadline_s), str(drained)]
    with subprocess.Popen([sys.executable, "-c", _ORCHESTRATOR, *arguments], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("drained", [0, 1, 3])
def test_when_the_orchestrator_is_killed_all_sources_run_again(
    drained: int, guarded: LonelyMachines, accel: str
) -> None:
    async def work() -> None:
        async with afterwards(guarded, accel) as driver:
            before = len(log_of(guarded, "run again"))
            with orchestrator(guarded, accel, drained=drained) as process:
                os.kill(process.pid, signal.SIGKILL)
                await until(driver, RunState.RUNNING, [m.id for m in TINIES])
            acted = (await noted(guarded, "run again", count=before + len(TINIES)))[before:]
            assert sorted(line["member"] for line in acted) == [m.id for m in TINIES]
            assert {line["because"] for line in acted} == {"its armer is gone"}
            assert RunState.RUNNING not in [await driver.look(m.id, TARGET) for m in TINIES]
            for member in TINIES:
                pid = running_pid(instance_paths(guarded.access(SOURCE), member.id))
                assert os.sched_getscheduler(pid or 0) == os.SCHED_OTHER

    asyncio.run(work())


def test_when_the_orchestrator_hangs_all_sources_run_again_after_the_deadline(
    guarded: LonelyMachines, accel: str
) -> None:

    async def work() -> None:
        async with afterwards(guarded, accel) as driver:
            with orchestrator(guarded, accel, drained=0, deadline_s=SOON_S) as process:
                os.kill(process.pid, signal.SIGSTOP)
                guard = QemuGuard(guarded)
                looking = QemuHypervisor(guarded, accel=accel, only_look=True)
                await until(looking, RunState.RUNNING, [m.id for m in TINIES])
                run_again = await guard.disarm(SERVICE, {m.id: SOURCE for m in TINIES})
                assert run_again == {m.id for m in TINIES}
                await looking.close()
                await guard.close()
            assert RunState.RUNNING not in [await driver.look(m.id, TARGET) for m in TINIES]

    asyncio.run(work())


@asynccontextmanager
async def hanging(machines: LonelyMachines) -> AsyncIterator[None]:
    """Let QEMU begin to send its rest, in which it holds its big lock, and take no more of it meanwhile."""
    stopped = asyncio.Event()
    spare = instance_paths(machines.access(SOURCE), MEMBER.id).spare_monitor
    monitor = Monitor(name="spare", socket=spare, on_event=lambda e: stopped.set() if e.name == "STOP" else None)
    await monitor.connect()
    ours, qemus = socket.socketpair()
    with closing(ours), closing(qemus):
        ours.setblocking(False)
        # Any rest will do: it is nearly all of its memory, and takes much longer than we need to see that it stopped.
        await monitor.execute("migrate-set-parameters", downtime_limit=2_000_000)
        await monitor.send_fd(qemus.fileno(), name="nowhere")
        await monitor.execute("migrate", uri="fd:nowhere")
        while not stopped.is_set():
            assert await asyncio.get_running_loop().sock_recv(ours, 64 * KIB), "QEMU has ended its stream"
            await asyncio.sleep(PAUSE_S)
        yield
    await monitor.close()


def test_a_source_whose_qemu_hangs_in_its_stream_runs_again(guarded: LonelyMachines, accel: str) -> None:
    async def work() -> None:
        async with driving(guarded, accel, SOURCE) as (driver, guard):
            await driver.create(MEMBER, SOURCE)
            await guarded.wait_beats(SOURCE, count=5)
            await guard.arm(SERVICE, {MEMBER.id: SOURCE}, deadline_s=SOON_S)
            before, acted = len(log_of(guarded, "break stream")), len(log_of(guarded, "run again"))
            async with hanging(guarded):
                await noted(guarded, "run again", count=acted + 1)
                await until(driver, RunState.RUNNING, [MEMBER.id])
            assert len(log_of(guarded, "break stream")) > before, "QEMU did not hang"
            assert await guard.disarm(SERVICE, {MEMBER.id: SOURCE}) == {MEMBER.id}

    asyncio.run(work())


def test_a_source_whose_qemu_answers_nobody_runs_again_when_it_does(guarded: LonelyMachines, accel: str) -> None:
    async def work() -> None:
        async with driving(guarded, accel, SOURCE) as (driver, guard):
            await driver.create(MEMBER, SOURCE)
            await guard.arm(SERVICE, {MEMBER.id: SOURCE}, deadline_s=FAR_S)
            await driver.stop(MEMBER, source=SOURCE)
            pid = running_pid(instance_paths(guarded.access(SOURCE), MEMBER.id))
            assert pid is not None
            failures = len(log_of(guarded, "not run yet"))
            os.kill(pid, signal.SIGSTOP)
            await guard.close()
            await noted(guarded, "not run yet", count=failures + 1)
            os.kill(pid, signal.SIGCONT)
            await until(driver, RunState.RUNNING, [MEMBER.id])
            assert await guard.disarm(SERVICE, {MEMBER.id: SOURCE}) == {MEMBER.id}

    asyncio.run(work())


def test_the_guard_outlives_garbage_and_a_qemu_that_dies(guarded: LonelyMachines, accel: str) -> None:
    path = str(guard_socket(guarded.access(SOURCE)))
    garbage = [b"\xff\n", b"[" * 60_000 + b"\n", b'{"op": "arm"}\n', b"{}\n", b'{"op": "disarm", "members": [1]}\n']
    garbage += [b'{"op": "arm", "members": ["../x"], "deadline_s": 1}\n', b"x" * 200_000 + b"\n", b"no end"]
    garbage += [b'{"op": "arm", "members": ["x"], "deadline_s": NaN}\n']

    async def work() -> None:
        for line in garbage:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(line)
            writer.write_eof()
            answer = await reader.read()
            assert answer == b"" or "error" in json.loads(answer), line[:40]
            writer.close()
        driver, guard = QemuHypervisor(guarded, accel=accel), QemuGuard(guarded)
        with pytest.raises(PermanentError, match="no QMP at"):
            await guard.arm(SERVICE, {MEMBER.id: SOURCE}, deadline_s=FAR_S)
        await driver.create(MEMBER, SOURCE)
        await guard.arm(SERVICE, {MEMBER.id: SOURCE}, deadline_s=FAR_S)
        await driver.stop(MEMBER, source=SOURCE)
        await driver.remove(MEMBER.id, SOURCE)
        assert await guard.disarm(SERVICE, {MEMBER.id: SOURCE}) == frozenset()
        assert await guard.is_there(SOURCE)
        await driver.close()
        await guard.close()

    asyncio.run(work())


def test_a_target_that_waits_for_its_state_is_not_armed(guarded: LonelyMachines, accel: str) -> None:
    async def work() -> None:
        async with driving(guarded, accel, TARGET) as (driver, guard):
            await driver.prepare(MEMBER, TARGET)
            with pytest.raises(PermanentError, match="it is inmigrate"):
                await guard.arm(SERVICE, {MEMBER.id: TARGET}, deadline_s=FAR_S)

    asyncio.run(work())


def test_a_guard_that_was_started_anew_does_not_say_that_nobody_was_run_again(
    guarded: LonelyMachines, accel: str
) -> None:
    alone = LonelyMachines(directory=guarded.directory / "anew")
    (alone.directory).mkdir()
    (alone.directory / "initrd").symlink_to("../initrd")
    sources = {MEMBER.id: SOURCE}

    async def work() -> None:
        driver, guard, stranger = QemuHypervisor(alone, accel=accel), QemuGuard(alone), QemuGuard(alone)
        try:
            with guard_process(alone, SOURCE):
                await driver.create(MEMBER, SOURCE)
                await guard.arm(SERVICE, sources, deadline_s=FAR_S)
            with pytest.raises(TemporaryError, match="does not run"):
                await guard.disarm(SERVICE, sources)
            assert not await guard.is_there(SOURCE)
            with guard_process(alone, SOURCE):
                with pytest.raises(OutcomeUnknownError, match="has forgotten"):
                    await guard.disarm(SERVICE, sources)
                assert await stranger.disarm(SERVICE, sources) == frozenset()
        finally:
            await driver.remove(MEMBER.id, SOURCE)
            await driver.close()
            await guard.close()
            await stranger.close()

    asyncio.run(work())
