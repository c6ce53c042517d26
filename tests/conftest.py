"""For all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from entourage.drivers.records import sqlite_url
from postgres import Server, server

# How long an example takes says something about the machine, and nothing about the code.
settings.register_profile("entourage", deadline=None)
settings.load_profile("entourage")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server; who stops it starts it again."""
    with server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "moves.sqlite")
    server: Server = request.getfixturevalue("postgres")
    return server.new_url()
