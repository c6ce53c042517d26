"""Encrypted migration streams: the kit over them, who is let in, and what can be read on the way."""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from test_qemu_conformance import (
    CHECK_DEADLINE_S,
    MEMBER,
    SOURCE,
    TARGET,
    LonelyMachines,
    a_driver,
    certify,
    conforms,
    lonely_machines,
    unwell,
)

from entourage.drivers.qemu.connecting import connect_from
from entourage.drivers.qemu.driver import FIRST_PORT, QemuHypervisor
from entourage.drivers.qemu.process import HostAccess
from entourage.lab.accel import usable_accel
from entourage.lab.certificates import Authority
from entourage.model.ids import HostId
from entourage.ports.conformance import HypervisorConformance
from entourage.ports.errors import DriverError
from entourage.ports.hypervisor import Capability, RunState

pytestmark = [pytest.mark.lab, pytest.mark.alone]

LONG_AGO = datetime(2021, 1, 1, tzinfo=UTC)
# Each of them moves state over the stream in another way; what does not is tried without TLS.
CHECKS = [name for name in HypervisorConformance.checks() if "drain" in name or "migrat" in name or "refresh" in name]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("tls tests")


@pytest.fixture(scope="module")
def machines(authority: Authority) -> Iterator[LonelyMachines]:
    with lonely_machines(is_encrypted=True) as made:
        for host in (SOURCE, TARGET):
            certify(made, host, authority)
        yield made


@pytest.mark.parametrize("name", CHECKS)
def test_qemu_conforms_over_tls(name: str, machines: LonelyMachines) -> None:
    assert Capability.ENCRYPTED in QemuHypervisor(machines, accel=usable_accel()).capabilities()
    assert conforms(name, machines)


class Impostors(LonelyMachines):
    """The same machines, one of which shows another certificate than it should."""

    def access(self, host: HostId) -> HostAccess:
        access = super().access(host)
        assert access.identity is not None
        shown = self.directory / "impostor" / host.replace("/", "-")
        return replace(access, identity=replace(access.identity, directory=shown)) if shown.exists() else access


IMPOSTORS = {
    "source of another authority": (SOURCE, None, True),
    "target of another authority": (TARGET, None, True),
    "source with another host's certificate": (SOURCE, "east-h9", False),
    "target with another host's certificate": (TARGET, "west-h9", False),
}


@pytest.mark.parametrize("case", IMPOSTORS)
def test_a_copy_from_or_to_an_impostor_fails_and_the_source_goes_on(
    case: str, machines: LonelyMachines, authority: Authority
) -> None:
    host, name, is_foreign = IMPOSTORS[case]
    folder = machines.directory / "impostor" / host.replace("/", "-")
    known = machines.access(host).identity
    assert known is not None
    signer = Authority("somebody else's") if is_foreign else authority
    signer.write(folder, name=name or known.name, address="127.0.0.2")
    require_refused(Impostors(directory=machines.directory, is_encrypted=True), folder)


def test_a_certificate_that_has_run_out_is_none(machines: LonelyMachines, authority: Authority) -> None:
    known = machines.access(SOURCE).identity
    assert known is not None
    folder = machines.directory / "impostor" / SOURCE.replace("/", "-")
    authority.write(folder, name=known.name, address="127.0.0.1", until=LONG_AGO)
    require_refused(Impostors(directory=machines.directory, is_encrypted=True), folder)


async def copied(driver: QemuHypervisor) -> None:
    await driver.prepare(MEMBER, TARGET)
    await driver.copy(MEMBER, source=SOURCE, target=TARGET, progress=lambda _: None)


def require_refused(machines: LonelyMachines, folder: Path) -> None:
    async def work() -> None:
        async with a_driver(machines) as driver:
            await driver.create(MEMBER, SOURCE)
            await machines.wait_beats(SOURCE, count=2)
            with pytest.raises(DriverError):
                await asyncio.wait_for(copied(driver), CHECK_DEADLINE_S)
            await driver.abandon(MEMBER, source=SOURCE)
            assert await driver.look(MEMBER.id, SOURCE) is RunState.RUNNING
            await machines.wait_beats(SOURCE, count=2)
            assert unwell(machines.console(SOURCE)) == []

    try:
        asyncio.run(work())
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


@pytest.mark.parametrize("has_certificate", [True, False])
def test_a_target_that_waits_lets_nobody_in_whom_it_was_not_told_of(
    has_certificate: bool, machines: LonelyMachines
) -> None:
    """Not even a host of the lab: before the copy begins nobody may."""

    async def work() -> None:
        async with a_driver(machines) as driver:
            await driver.prepare(MEMBER, TARGET)
            identity = machines.access(SOURCE).identity
            assert identity is not None
            context = ssl.create_default_context(cafile=identity.directory / "ca-cert.pem")
            if has_certificate:
                context.load_cert_chain(identity.directory / "client-cert.pem", identity.directory / "client-key.pem")
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", FIRST_PORT, ssl=context, server_hostname=TARGET.replace("/", "-")
            )
            writer.write(b"QEVM\0\0\0\3")
            with pytest.raises((ConnectionError, ssl.SSLError, asyncio.IncompleteReadError)):
                async with asyncio.timeout(CHECK_DEADLINE_S):
                    await reader.readexactly(1)
            writer.close()

    asyncio.run(work())


def test_nothing_of_the_memory_can_be_read_on_the_way(
    machines: LonelyMachines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes that a stream without TLS shows."""
    with lonely_machines() as plain:
        assert b"what beat " in sent(plain, monkeypatch)
    assert b"what beat " not in sent(machines, monkeypatch)


def sent(machines: LonelyMachines, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """All that the gate has sent while a guest was copied that writes "what beat N wrote" into its memory."""
    passed: list[bytes] = []

    class Tapped:
        def __init__(self, connection: object) -> None:
            self._connection = connection

        def sendall(self, data: bytes) -> None:
            passed.append(data)
            self._connection.sendall(data)  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self._connection, name)

    async def tapped(access: HostAccess, address: tuple[str, int]) -> object:
        return Tapped(await connect_from(access, address))

    monkeypatch.setattr("entourage.drivers.qemu.driver.connect_from", tapped)

    async def work() -> None:
        async with a_driver(machines) as driver:
            await driver.create(MEMBER, SOURCE)
            await machines.wait_beats(SOURCE, count=5)
            await copied(driver)

    asyncio.run(work())
    monkeypatch.undo()
    assert sum(map(len, passed)) > 1 << 20
    return b"".join(passed)


def test_while_hands_are_shaken_the_source_serves_its_users(
    machines: LonelyMachines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that is far away, or says nothing at all, holds up the copy and not the member."""
    silent = socket.create_server(("127.0.0.1", 0))
    silent.settimeout(CHECK_DEADLINE_S)

    async def to_the_silent(access: HostAccess, _: tuple[str, int]) -> object:
        return await connect_from(access, silent.getsockname())

    monkeypatch.setattr("entourage.drivers.qemu.driver.connect_from", to_the_silent)

    async def work() -> None:
        async with a_driver(machines) as driver:
            await driver.create(MEMBER, SOURCE)
            await machines.wait_beats(SOURCE, count=1)
            copying = asyncio.create_task(copied(driver))
            connection, _ = await asyncio.to_thread(silent.accept)
            with connection:
                assert await asyncio.to_thread(connection.recv, 1)  # of its first record
                assert await asyncio.wait_for(driver.look(MEMBER.id, SOURCE), CHECK_DEADLINE_S) is RunState.RUNNING
                await machines.wait_beats(SOURCE, count=2)
            with pytest.raises(DriverError):
                await asyncio.wait_for(copying, CHECK_DEADLINE_S)

    with silent:
        asyncio.run(work())


def test_keys_are_for_nobody_else_to_read(machines: LonelyMachines) -> None:
    keys = list((machines.directory / "tls").glob("*/*-key.pem"))
    assert len(keys) == 4
    assert {os.stat(key).st_mode & 0o777 for key in keys} == {0o600}
