"""Who may drive the moves of a database: one process at a time, wherever it runs.

On PostgreSQL the right is an advisory lock of a session: the server gives it back when the process ends, and some
seconds after its machine is not heard of any more. A process whose session breaks goes on only if it gets the lock
again and nobody had it meanwhile, which the number says that each taking counts up. A process asks before it acts,
unless it has asked within the last FRESH_S; whoever takes the right from one that has not given it back waits longer
than that. So what is left is a process that stands still for seconds between asking and acting.

A SQLite file belongs to one machine, where another lock says who drives; there is nothing to ask then.
Source: PostgreSQL 15 manual, 13.3.5 "Advisory Locks".
"""

import asyncio
import os
import socket
import time
from contextlib import suppress
from typing import Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from entourage.drivers.records import RecordsError, records_url, rights, words_of
from entourage.ports.right import RightLostError, RightUnknownError

FRESH_S = 2.0
_GRACE_S = 2 * FRESH_S
_LOCK = 0x656E746F  # "ento": a database is for one infrastructure, and advisory locks belong to their database
# A server that cannot be reached is not heard of for this long before that counts; the server does the same with us.
_SETTINGS = {
    "connect_timeout": 5,
    "keepalives_idle": 3,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 9000,
    "options": "-c tcp_keepalives_idle=3 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=9000 -c statement_timeout=5000",
}


class TakenError(Exception):
    """Somebody else drives moves of this database; the message says who."""


class DrivingRight:
    """`entourage.ports.right.Right` of this process. Made by `take`."""

    def __init__(self, engine: Engine | None) -> None:
        """None: there is nobody to share with."""
        self._engine = engine
        self._connection: Connection | None = None
        self._number = 0
        self._asked_at = 0.0
        self._one_asks = asyncio.Lock()

    @classmethod
    async def take(cls, url: str) -> Self:
        """The right, now. TakenError if somebody has it, RecordsError if the database cannot be used."""
        right = cls(_engine(url))
        try:
            waits = await asyncio.to_thread(right._lock)
            if waits:  # whoever had it may still do what it asked for before it lost it
                await asyncio.sleep(_GRACE_S)
            await asyncio.to_thread(right._count)
        except BaseException as error:
            await asyncio.to_thread(right._close)
            if isinstance(error, SQLAlchemyError):
                raise RecordsError(f"the database of moves does not say who drives: {words_of(error)}") from error
            raise
        return right

    async def check(self) -> None:
        """Ask, if that was not done just now."""
        async with self._one_asks:
            if self._engine is not None and time.monotonic() - self._asked_at >= FRESH_S:
                await asyncio.to_thread(self._ask)

    async def give_back(self) -> None:
        """In order: the next one need not wait. If the database cannot be reached, it will find out."""
        await asyncio.to_thread(self._give_back)

    def _lock(self) -> bool:
        """Whether the one before has not given it back."""
        if self._engine is None:
            return False
        self._connect()
        assert self._connection is not None
        return bool(self._connection.execute(sa.select(rights.c.is_held)).scalar())

    def _connect(self) -> None:
        assert self._engine is not None
        connection = self._engine.connect()
        if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(_LOCK))).scalar():
            holder = connection.execute(sa.select(rights.c.holder)).scalar()
            connection.close()
            raise TakenError(holder or "another process")
        self._connection = connection

    def _count(self) -> None:
        if self._connection is None:
            return
        asked_at = time.monotonic()
        mine = {"holder": f"process {os.getpid()} on {socket.gethostname()}", "is_held": True}
        counted = rights.update().values(number=rights.c.number + 1, **mine).returning(rights.c.number)
        self._number, self._asked_at = int(self._connection.execute(counted).scalar_one()), asked_at

    def _ask(self) -> None:
        asked_at = time.monotonic()
        try:
            number = self._number_now()
        except TakenError as error:
            raise RightLostError(f"{error} drives the moves of this database now") from error
        except SQLAlchemyError as error:
            raise RightUnknownError(f"the database of moves does not say who drives: {words_of(error)}") from error
        if number != self._number:
            raise RightLostError("another process has driven the moves of this database meanwhile")
        self._asked_at = asked_at

    def _number_now(self) -> int:
        """As the session has it that holds the lock; if that has broken, as another one has it that got the lock."""
        wanted = sa.select(rights.c.number)
        if self._connection is not None:
            try:
                return int(self._connection.execute(wanted).scalar_one())
            except DBAPIError:
                self._drop()
        self._connect()
        assert self._connection is not None
        return int(self._connection.execute(wanted).scalar_one())

    def _give_back(self) -> None:
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                mine = rights.update().where(rights.c.number == self._number)
                self._connection.execute(mine.values(is_held=False))
                # The session's end would do it, too, but the server sees that only after we have gone on.
                self._connection.execute(sa.select(sa.func.pg_advisory_unlock(_LOCK)))
        self._close()

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.invalidate()
                self._connection.close()
            self._connection = None

    def _close(self) -> None:
        self._drop()
        if self._engine is not None:
            self._engine.dispose()


def is_driven(url: str) -> bool:
    """Whether somebody drives moves of this database, as far as the database knows. RecordsError if it does not say."""
    engine = _engine(url)
    if engine is None:
        return False
    held = sa.text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = :lock AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    try:
        with engine.connect() as connection:
            return bool(connection.execute(held, {"lock": _LOCK}).scalar())
    except SQLAlchemyError as error:
        raise RecordsError(f"the database of moves does not say who drives: {words_of(error)}") from error
    finally:
        engine.dispose()


def _engine(url: str) -> Engine | None:
    known = records_url(url)
    if known.get_backend_name() == "sqlite":
        return None
    # Of its own, and one connection that is never shared: the lock is the session's.
    return sa.create_engine(known, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=_SETTINGS)
