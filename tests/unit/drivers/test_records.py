"""The database of moves: a decision is made once, and a damaged database is never taken for an empty one."""

import asyncio
import resource
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from entourage.drivers.records import MoveRecords, RecordsError, create_records, sqlite_url
from entourage.ports.errors import OutcomeUnknownError, PermanentError
from entourage.ports.journal import Decision
from postgres import Server

MOVE = "shop-20260102-030405"


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = sqlite_url(tmp_path / "moves.sqlite")
    create_records(made)
    return made


@pytest.fixture
def either(new_database: str) -> str:
    """The URL of a database of each kind."""
    create_records(new_database)
    return new_database


def decide(url: str, decision: Decision) -> Decision:
    records = MoveRecords(url)
    try:
        return asyncio.run(records.journal(MOVE).decide(decision))
    finally:
        records.close()


def test_the_first_decision_stands(either: str) -> None:
    assert decide(either, Decision.COMMIT) is Decision.COMMIT
    assert decide(either, Decision.BACK) is Decision.COMMIT
    assert decide(either, Decision.COMMIT) is Decision.COMMIT


def test_of_two_that_decide_at_once_one_wins_and_both_know(either: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        wanted = [Decision.COMMIT, Decision.BACK] * 8
        found = list(threads.map(lambda decision: decide(either, decision), wanted))
    assert len(set(found)) == 1


def test_a_locked_database_leaves_it_open_whether_the_decision_is_written(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("entourage.drivers.records._BUSY_S", 0.01)
    other = sqlite3.connect(tmp_path / "moves.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OutcomeUnknownError, match="locked"):
        decide(url, Decision.COMMIT)
    other.close()
    assert decide(url, Decision.BACK) is Decision.BACK


def test_wishes_are_kept_once_each(either: str) -> None:
    records = MoveRecords(either)
    for wish in ("commit", "abort", "commit"):
        records.wish(MOVE, wish)
    assert records.wishes(MOVE) == {"commit", "abort"}
    assert records.wishes("another") == frozenset()
    records.close()


def test_made_again_it_keeps_what_is_there(either: str) -> None:
    decide(either, Decision.BACK)
    create_records(either)
    assert decide(either, Decision.COMMIT) is Decision.BACK


def test_while_a_server_is_gone_it_is_open_whether_a_decision_is_written(postgres: Server) -> None:
    url = postgres.new_url()
    create_records(url)
    records = MoveRecords(url)
    journal = records.journal(MOVE)
    assert asyncio.run(journal.decide(Decision.COMMIT)) is Decision.COMMIT
    postgres.stop()
    try:
        with pytest.raises(OutcomeUnknownError):
            asyncio.run(journal.decide(Decision.BACK))
        with pytest.raises(OutcomeUnknownError):
            asyncio.run(journal.check())
        with pytest.raises(RecordsError, match="cannot be read"):
            MoveRecords(url)
    finally:
        postgres.start()
    assert asyncio.run(journal.decide(Decision.BACK)) is Decision.COMMIT
    asyncio.run(journal.check())
    records.close()


def test_a_password_is_not_told(postgres: Server) -> None:
    url = postgres.url("nowhere").replace("entourage@", "entourage:secret@")
    with pytest.raises(RecordsError, match="nowhere") as told:
        create_records(url)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("url", ["mysql://somewhere/moves", "moves", "postgres", ""])
def test_what_is_no_database_of_ours_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(RecordsError, match="postgresql://USER@HOST/DATABASE"):
        create_records(url)


def test_a_database_that_is_gone_is_not_a_new_one(url: str, tmp_path: Path) -> None:
    (tmp_path / "moves.sqlite").unlink()
    with pytest.raises(RecordsError, match="whether a move is open is not known"):
        MoveRecords(url)
    assert not (tmp_path / "moves.sqlite").exists()


@pytest.mark.parametrize("kept", [0, 10, 100, 5000])
def test_a_database_that_is_cut_off_or_overwritten_is_refused(url: str, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "moves.sqlite"
    path.write_bytes(path.read_bytes()[:kept] + (b"" if kept in (0, 100) else b"x" * 8192))
    with pytest.raises(RecordsError):
        MoveRecords(url)


def test_a_database_of_another_version_is_refused_with_words(url: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "moves.sqlite") as connection:
        connection.execute("UPDATE entourage_version SET version = 99")
    with pytest.raises(RecordsError, match=r"has version 99, this program writes 1: finish open moves"):
        MoveRecords(url)


def test_a_decision_for_which_there_is_no_place_is_known_not_to_be_written(url: str) -> None:
    records = MoveRecords(url)
    journal = records.journal(MOVE)
    asyncio.run(journal.check())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        with pytest.raises(OutcomeUnknownError, match="takes no records"):
            asyncio.run(journal.check())
        with pytest.raises(PermanentError, match="was not written"):
            asyncio.run(journal.decide(Decision.COMMIT))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    records.close()
    assert decide(url, Decision.BACK) is Decision.BACK
