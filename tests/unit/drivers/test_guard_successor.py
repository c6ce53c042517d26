"""A guard has somebody finish a move whose driver is gone without a word, and nobody where nothing is to be done."""

import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from entourage.drivers.qemu.guard import successor
from entourage.drivers.qemu.guard.server import Guard, Log
from entourage.drivers.qemu.guard.successor import Successor
from entourage.ports.conformance.kit import wait_until

DEADLINE_S = 20.0
LOG = "guard.jsonl"


def notes(folder: Path) -> list[str]:
    return [json.loads(line)["what"] for line in (folder / LOG).read_text().splitlines()]


async def connections(folder: Path, *requests: list[dict[str, object]], command: list[str]) -> None:
    """Connect once for each of the requests, ask, and be gone; then wait until the guard has seen the last one go."""
    log = Log(folder / LOG)
    server = await asyncio.start_unix_server(
        Guard(folder, log, Successor(command, log=folder / "said", note=log.note)).serve, path=str(folder / "socket")
    )
    async with server:
        for each in requests:
            reader, writer = await asyncio.open_unix_connection(str(folder / "socket"))
            for request in each:
                writer.write(json.dumps(request).encode() + b"\n")
                assert "error" not in json.loads(await reader.readline())
            writer.close()
        await asyncio.sleep(0)
        while len(asyncio.all_tasks()) > 1:  # the connections' ends, and what they have started
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.wait([task for task in asyncio.all_tasks() if task is not asyncio.current_task()])
    log.close()


DRIVES: dict[str, object] = {"op": "disarm", "members": []}
ENDS: dict[str, object] = {"op": "end"}
LOOKS: dict[str, object] = {"op": "status"}
COMMAND = [sys.executable, "-c", "print('recovered')"]


@pytest.mark.parametrize(
    ("requests", "started"),
    [([DRIVES], 1), ([DRIVES, ENDS], 0), ([LOOKS], 0), ([DRIVES, ENDS, DRIVES], 1)],
    ids=["drives", "has ended", "only looks", "drives again"],
)
def test_only_a_driver_that_is_gone_has_a_successor(
    tmp_path: Path, requests: list[dict[str, object]], started: int
) -> None:
    asyncio.run(connections(tmp_path, requests, command=COMMAND))
    assert notes(tmp_path).count("successor started") == notes(tmp_path).count("successor ended") == started
    if started:
        assert (tmp_path / "said").read_text() == "recovered\n"


def test_however_many_drivers_are_gone_one_after_another_each_has_a_successor(tmp_path: Path) -> None:
    asyncio.run(connections(tmp_path, *[[DRIVES]] * 5, command=COMMAND))
    assert notes(tmp_path).count("successor started") == 5


def test_successors_that_fail_again_and_again_are_started_only_after_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(successor, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    log = Log(tmp_path / LOG)

    async def ends(times: int) -> bool:
        return notes(tmp_path).count("successor ended") >= times

    async def fail(times: int) -> None:
        failing = Successor([sys.executable, "-c", "raise SystemExit(1)"], log=tmp_path / "said", note=log.note)
        for number in range(times):
            failing.start()
            if number >= 3:
                failing.start()  # it is put off already
            ended = partial(ends, number + 1)
            await wait_until(ended, words="it has ended", deadline_s=DEADLINE_S)

    asyncio.run(fail(9))
    log.close()
    assert pauses == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0]


def test_without_a_command_nobody_is_started(tmp_path: Path) -> None:
    asyncio.run(connections(tmp_path, [DRIVES], command=[]))
    assert "successor started" not in notes(tmp_path)


def test_a_command_that_is_not_there_is_noted(tmp_path: Path) -> None:
    asyncio.run(connections(tmp_path, [DRIVES], command=[str(tmp_path / "nobody")]))
    assert notes(tmp_path)[-1] == "successor not started"
