"""Where Entourage itself has put members last: moves and failovers together, by time."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from entourage.drivers.decisions import DecisionRecords
from entourage.drivers.records import sqlite_url
from entourage.lab.errors import LabError
from entourage.model.ids import HostId, MemberId, SiteId
from entourage.operations.placed import PastFailover, last_failover, put_by_us

WEB, LB = MemberId("web1"), MemberId("lb")
Decide = Callable[..., None]
DOCUMENT = {"rule": "over", "service": "shop", "verdict": "do", "action": "fail-over"}


@pytest.fixture
def lab(tmp_path: Path) -> Any:
    kept = SimpleNamespace(created=100.0)
    shop = SimpleNamespace(id="shop")
    return SimpleNamespace(name="lab1", moves_url=sqlite_url(tmp_path / "moves.sqlite"), kept=kept, service=shop)


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The moves that are known, the latest first."""
    known: list[Any] = []
    monkeypatch.setattr("entourage.operations.placed.all_moves", lambda _: known)
    return known


@pytest.fixture
def decided(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Decide]:
    """Keep a decision of a time, and what came of it."""
    records = DecisionRecords(lab.moves_url)

    def decide(at: float, outcome: Mapping[str, Any] | None, *, service: str = "shop") -> None:
        with monkeypatch.context() as patched:
            patched.setattr("entourage.drivers.decisions.time.time", lambda: at)
            number = records.keep(service, {**DOCUMENT, "service": service})
            if outcome is not None:
                records.end(number, outcome)

    yield decide
    records.close()


def move(at: float, targets: Mapping[str, str], *, ended: str | None = "committed") -> Any:
    document = {"group": {"targets": dict(targets)}, "service": "shop"}
    return SimpleNamespace(began=at, document=document, ended=None if ended is None else {"outcome": ended})


def failed_over(*, lost: str = "east", outcome: str = "failed-over", **placement: str) -> dict[str, Any]:
    return {"outcome": outcome, "lost": lost, "placement": placement}


def test_before_anything_was_moved_nothing_was_put_anywhere(lab: Any, moves: list[Any]) -> None:
    assert moves == []
    assert put_by_us(lab) == {}


def test_of_several_moves_the_last_that_was_committed_counts(lab: Any, moves: list[Any]) -> None:
    moves += [
        move(30.0, {"web1": "west/h2"}, ended="rolled-back"),
        move(25.0, {"web1": "west/h3"}, ended=None),
        move(20.0, {"web1": "west/h1"}),
        move(10.0, {"web1": "east/h1", "lb": "east/h2"}),
    ]
    assert put_by_us(lab) == {WEB: HostId("west/h1"), LB: HostId("east/h2")}


def test_a_failover_after_a_move_counts_and_one_before_it_does_not(lab: Any, moves: list[Any], decided: Decide) -> None:
    decided(20.0, failed_over(web1="west/h2", lb="west/h2"))
    moves.append(move(10.0, {"web1": "east/h1", "lb": "east/h1"}))
    assert put_by_us(lab) == {WEB: HostId("west/h2"), LB: HostId("west/h2")}
    moves.insert(0, move(30.0, {"web1": "east/h2"}))
    assert put_by_us(lab) == {WEB: HostId("east/h2"), LB: HostId("west/h2")}


def test_failovers_count_by_time_too(lab: Any, moves: list[Any], decided: Decide) -> None:
    assert moves == []
    decided(20.0, failed_over(web1="west/h2"))
    decided(30.0, failed_over(lost="west", web1="east/h1"))
    assert put_by_us(lab) == {WEB: HostId("east/h1")}


def test_what_was_started_counts_though_it_did_not_serve_in_the_end(
    lab: Any, moves: list[Any], decided: Decide
) -> None:
    assert moves == []
    decided(20.0, failed_over(outcome="not-served", web1="west/h2"))
    assert put_by_us(lab) == {WEB: HostId("west/h2")}


def test_what_failed_or_was_only_decided_has_put_nothing_anywhere(lab: Any, moves: list[Any], decided: Decide) -> None:
    assert moves == []
    for outcome in ({"outcome": "failed", "reason": "no"}, {"outcome": "only decided"}, None):
        decided(20.0, outcome)
    assert put_by_us(lab) == {}


def test_the_last_failover_is_the_latest_that_was_carried_out(lab: Any, decided: Decide) -> None:
    assert last_failover(lab) is None
    decided(110.0, failed_over(lost="west"))
    decided(120.0, failed_over(lost="east"))
    decided(130.0, {"outcome": "failed", "reason": "nobody let it"})
    decided(140.0, failed_over(outcome="not-served", lost="west"))
    decided(150.0, None)
    decided(160.0, failed_over(lost="west"), service="mail")
    assert last_failover(lab) == PastFailover(at=120.0, lost=SiteId("east"))


def test_a_failover_of_an_earlier_service_of_the_same_name_is_none_of_this_one(lab: Any, decided: Decide) -> None:
    decided(99.0, failed_over())
    assert last_failover(lab) is None


def test_however_much_was_decided_since_a_failover_it_counts(
    lab: Any, moves: list[Any], decided: Decide, tmp_path: Path
) -> None:
    assert moves == []
    decided(120.0, failed_over(web1="west/h2"))
    waits = [(130.0, "shop", json.dumps({**DOCUMENT, "verdict": "wait"}))] * 1500
    with closing(sqlite3.connect(tmp_path / "moves.sqlite")) as connection, connection:
        connection.executemany("INSERT INTO entourage_rule_decisions (at, service, document) VALUES (?, ?, ?)", waits)
    assert put_by_us(lab) == {WEB: HostId("west/h2")}
    assert last_failover(lab) == PastFailover(at=120.0, lost=SiteId("east"))


def test_a_database_that_cannot_be_used_is_told(lab: Any, moves: list[Any], tmp_path: Path) -> None:
    assert moves == []
    (tmp_path / "moves.sqlite").write_text("this is no database, it only has its name" * 10)
    with pytest.raises(LabError, match="decisions cannot be kept"):
        put_by_us(lab)
    with pytest.raises(LabError, match="decisions cannot be kept"):
        last_failover(lab)
