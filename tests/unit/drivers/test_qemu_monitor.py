"""The QMP monitor where its client is not as it should be."""

import asyncio
from pathlib import Path

import pytest
from qemu.qmp import QMPClient

from entourage.drivers.qemu.monitor import Monitor


def test_a_qemu_that_dies_while_one_connects_is_no_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def connect(*_: object) -> None:
        raise AssertionError  # what the client does when the other end goes just after the greeting

    monkeypatch.setattr(QMPClient, "connect", connect)

    async def work() -> None:
        with pytest.raises(ConnectionError, match="no QMP at"):
            await Monitor(name="rt", socket=tmp_path / "rt.qmp").connect()

    asyncio.run(work())
