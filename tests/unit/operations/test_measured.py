"""A measured move without a lab: who is asked in which order, and what is kept whatever happens."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from entourage.lab.errors import LabError
from entourage.lab.leftovers import exclusive_move, is_being_moved
from entourage.model.ids import RegionId, ServiceId, SiteId
from entourage.operations.interruption import Interruption
from entourage.operations.measured import measured_move
from entourage.operations.tell import Silent
from entourage.operations.users import Load, Seen
from entourage.planner import MoveRequest
from entourage.probe.analysis import ProbeLog
from entourage.probe.runner import ProbeError

LAB = "measuredtest"
REQUEST = MoveRequest(service=ServiceId("shop"), target=SiteId("west"))
DOCUMENT: dict[str, Any] = {
    "move": "shop-1", "outcome": "committed", "sessions": None, "requests": None,
    "path": {"before": None, "after": {"region": "users-west"}},
}  # fmt: skip


class FakeUsers:
    """Users who see nothing."""

    opened = 0
    fails: Exception | None = None

    def __init__(self, *_: object) -> None: ...

    async def __aenter__(self) -> "FakeUsers":
        type(self).opened += 1
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def wait_logged(self, _: float) -> None:
        if self.fails:
            raise self.fails

    def read(self) -> Seen:
        empty = ProbeLog(sessions=(), requests=(), streams=())
        return Seen({RegionId("users-east"): empty, RegionId("users-west"): empty})


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> type[FakeUsers]:
    class Users(FakeUsers):
        opened = 0

    async def run_admitted(*_: object, **__: object) -> dict[str, Any]:
        assert is_being_moved(LAB)
        return dict(DOCUMENT)

    async def admit(*_: object) -> object:
        return object()

    monkeypatch.setattr("entourage.operations.measured.Users", Users)
    monkeypatch.setattr("entourage.operations.measured.admit", admit)
    monkeypatch.setattr("entourage.operations.measured.start_missing_guards", admit)
    monkeypatch.setattr("entourage.operations.measured.run_admitted", run_admitted)
    monkeypatch.setattr("entourage.operations.measured._BEFORE_S", 0.0)
    monkeypatch.setattr("entourage.operations.measured._AFTER_S", 0.0)
    monkeypatch.setattr("entourage.operations.reports.render_move", lambda _: "<!doctype html>")
    return Users


async def moved(out: Path, load: Load | None, interruption: Interruption | None = None) -> dict[str, Any]:
    wired: Any = SimpleNamespace(place=SimpleNamespace(name=LAB, moves_url="sqlite:///moves.sqlite"))
    return await measured_move(wired, REQUEST, load=load, out=out, tell=Silent(), interruption=interruption)


def kept(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "moves/shop-1.json").read_text())
    return found


def test_users_of_every_region_are_in_the_report(tmp_path: Path, users: type[FakeUsers]) -> None:
    document = asyncio.run(moved(tmp_path, Load(sessions=5, message_interval_s=0.0)))
    assert users.opened == 1
    assert document["sessions"]["opened"] == 0
    assert document["requests"]["after"]["region"] == "users-west"
    assert set(document["requests"]["before"]["regions"]) == {"users-east", "users-west"}
    assert kept(tmp_path) == document
    assert (tmp_path / "moves/shop-1.html").exists()


def test_without_a_load_nobody_uses_the_service(tmp_path: Path, users: type[FakeUsers]) -> None:
    document = asyncio.run(moved(tmp_path, None))
    assert users.opened == 0
    assert document == DOCUMENT == kept(tmp_path)


def test_a_second_move_in_the_same_lab_is_refused_before_anything_begins(
    tmp_path: Path, users: type[FakeUsers]
) -> None:
    with exclusive_move(LAB), pytest.raises(LabError, match="a move is under way in lab measuredtest"):
        asyncio.run(moved(tmp_path, Load(sessions=5)))
    assert users.opened == 0
    assert not is_being_moved(LAB)


def test_a_refused_move_has_no_users(tmp_path: Path, users: type[FakeUsers], monkeypatch: pytest.MonkeyPatch) -> None:
    async def admit(*_: object) -> object:
        raise LabError("the service is not at rest")

    monkeypatch.setattr("entourage.operations.measured.admit", admit)
    with pytest.raises(LabError, match="not at rest"):
        asyncio.run(moved(tmp_path, Load(sessions=5)))
    assert users.opened == 0


def test_what_a_move_did_is_kept_even_if_its_users_fail(tmp_path: Path, users: type[FakeUsers]) -> None:
    users.fails = ProbeError("the probe of users-east ended")
    with pytest.raises(ProbeError):
        asyncio.run(moved(tmp_path, Load(sessions=5, message_interval_s=0.0)))
    assert kept(tmp_path) == DOCUMENT


def test_an_interruption_after_the_move_only_ends_the_watching(
    tmp_path: Path, users: type[FakeUsers], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impatient(Silent):
        """Asks for the end as soon as the users are watched after the move."""

        def phase(self, text: str) -> None:
            if text.startswith("users after"):
                asyncio.get_running_loop().call_soon(interruptions[0].ask, "enough")

    interruptions: list[Interruption] = []

    async def work() -> dict[str, Any]:
        interruptions.append(Interruption())
        wired: Any = SimpleNamespace(place=SimpleNamespace(name=LAB, moves_url="sqlite:///moves.sqlite"))
        load = Load(sessions=5, message_interval_s=3600.0)
        return await measured_move(
            wired, REQUEST, load=load, out=tmp_path, tell=Impatient(), interruption=interruptions[0]
        )

    assert asyncio.run(work())["sessions"]["opened"] == 0
    assert users.opened == 1
