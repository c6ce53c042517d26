"""Decisions of rules are kept, with what came of them, in SQLite and PostgreSQL."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from entourage.drivers.decisions import DecisionRecords
from entourage.drivers.records import MoveRecords, RecordsError, create_records, sqlite_url
from postgres import Server

DOCUMENT = {"rule": "follow", "service": "shop", "verdict": "do", "reasons": ["it may"], "members": None, "about": "é"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "moves.sqlite")


def document(**changes: Any) -> dict[str, Any]:
    return {**DOCUMENT, **changes}


def test_a_decision_is_kept_as_it_was_made(new_database: str) -> None:
    records = DecisionRecords(new_database)
    number = records.keep("shop", DOCUMENT)
    (kept,) = records.latest()
    records.close()
    assert (kept.number, kept.service, kept.document) == (number, "shop", DOCUMENT)
    assert (kept.ended, kept.outcome) == (None, None)
    assert kept.to_json() == {"number": number, "at": kept.at, **DOCUMENT, "ended": None, "outcome": None}


def test_what_came_of_it_is_kept_beside_it_and_nothing_else_changes(new_database: str) -> None:
    records = DecisionRecords(new_database)
    first, second = records.keep("shop", DOCUMENT), records.keep("shop", DOCUMENT)
    records.end(second, {"outcome": "committed", "total_s": 1.5})
    later, earlier = records.latest()
    records.close()
    assert (earlier.number, earlier.ended, earlier.outcome) == (first, None, None)
    assert (later.number, later.outcome) == (second, {"outcome": "committed", "total_s": 1.5})
    assert later.ended is not None
    assert later.ended >= later.at
    assert later.document == DOCUMENT
    assert later.to_json()["outcome"] == {"outcome": "committed", "total_s": 1.5}


def test_the_latest_come_first_and_so_many_as_are_asked_for(new_database: str) -> None:
    records = DecisionRecords(new_database)
    numbers = [records.keep("shop" if number % 2 else "mail", document(nth=number)) for number in range(7)]
    assert len(set(numbers)) == 7
    assert [each.document["nth"] for each in records.latest()] == [6, 5, 4, 3, 2, 1, 0]
    assert [each.document["nth"] for each in records.latest(most=2)] == [6, 5]
    assert [each.document["nth"] for each in records.latest(service="shop", most=2)] == [5, 3]
    assert records.latest(service="nothing") == []
    records.close()


def test_unfinished_is_what_was_to_be_done_and_has_no_outcome(new_database: str) -> None:
    records = DecisionRecords(new_database)
    records.keep("shop", document(verdict="wait"))
    records.keep("shop", document(verdict="cannot"))
    ended, open_one = records.keep("shop", DOCUMENT), records.keep("shop", DOCUMENT)
    records.end(ended, {"outcome": "committed"})
    assert [each.number for each in records.unfinished()] == [open_one]
    records.close()


def test_opened_again_everything_is_still_there_and_beside_the_moves(new_database: str) -> None:
    create_records(new_database)
    for number in range(2):
        records = DecisionRecords(new_database)
        records.keep("shop", document(nth=number))
        records.close()
    again = DecisionRecords(new_database)
    assert [each.document["nth"] for each in again.latest()] == [1, 0]
    again.close()
    MoveRecords(new_database).close()


def test_many_at_once_get_a_number_each(new_database: str) -> None:
    records = DecisionRecords(new_database)
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda number: records.keep("shop", document(nth=number)), range(40)))
    kept = {each.number: each.document["nth"] for each in records.latest()}
    records.close()
    assert kept == dict(zip(numbers, range(40), strict=True))


def test_a_database_that_cannot_be_used_is_an_error_in_words(tmp_path: Path, url: str) -> None:
    (tmp_path / "moves.sqlite").write_text("this is no database " * 100)
    with pytest.raises(RecordsError, match=r"decisions cannot be kept: .*not a database"):
        DecisionRecords(url)
    with pytest.raises(RecordsError, match="postgresql://USER@HOST/DATABASE"):
        DecisionRecords("nowhere")


def test_a_database_that_lost_its_table_is_an_error_in_words(tmp_path: Path, url: str) -> None:
    records = DecisionRecords(url)
    with sqlite3.connect(tmp_path / "moves.sqlite") as other:
        other.execute("DROP TABLE entourage_rule_decisions")
    with pytest.raises(RecordsError, match="a decision cannot be kept: no such table"):
        records.keep("shop", DOCUMENT)
    with pytest.raises(RecordsError, match="a decision's outcome cannot be kept: no such table"):
        records.end(1, {})
    with pytest.raises(RecordsError, match="the decisions cannot be read: no such table"):
        records.latest()
    records.close()


def test_a_server_that_is_gone_is_an_error_in_words_and_nothing_is_lost(postgres: Server) -> None:
    records = DecisionRecords(postgres.new_url())
    records.keep("shop", DOCUMENT)
    postgres.stop()
    try:
        with pytest.raises(RecordsError, match="a decision cannot be kept"):
            records.keep("shop", DOCUMENT)
    finally:
        postgres.start()
    assert [each.document for each in records.latest()] == [DOCUMENT]
    records.close()
