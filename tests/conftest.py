"""For all tests."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from postgres import Server, server

# How long an example takes says something about the machine, and nothing about the code.
settings.register_profile("entourage", deadline=None)
settings.load_profile("entourage")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server; who stops it starts it again."""
    with server() as running:
        yield running
