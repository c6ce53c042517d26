"""What is decided about moves, and what is wished of them, in a database: SQLite, or another that SQLAlchemy knows.

The decision is the one record that a move stands or falls with. It is a row with the move as primary key, inserted if
there is none: the database settles who was first, and keeps it.
"""

import asyncio
import sqlite3
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)

from entourage.ports.errors import OutcomeUnknownError, PermanentError
from entourage.ports.journal import Decision

VERSION = 1
_PRIMARY = 0xFF  # of an extended result code: https://www.sqlite.org/rescode.html
_URL_LIKE = "postgresql://USER@HOST/DATABASE"
_BUSY_S = 5.0  # how long one write waits for another process's
_tables = sa.MetaData()
_version = sa.Table("entourage_version", _tables, sa.Column("version", sa.Integer, primary_key=True))
_decisions = sa.Table(
    "entourage_decisions",
    _tables,
    sa.Column("move", sa.String, primary_key=True),
    sa.Column("decision", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
_wishes = sa.Table(
    "entourage_wishes",
    _tables,
    sa.Column("move", sa.String, primary_key=True),
    sa.Column("wish", sa.String, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
)
# One row: see `entourage.drivers.driving`.
rights = sa.Table(
    "entourage_right",
    _tables,
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("holder", sa.String, nullable=False),
    sa.Column("is_held", sa.Boolean, nullable=False),
)


class RecordsError(Exception):
    """The database of moves cannot be used: it is not there, damaged, or of another version. Nothing was changed."""


def sqlite_url(path: Path) -> str:
    """The URL of a database in this file."""
    return f"sqlite:///{path.absolute()}"


def records_url(url: str) -> URL:
    """The URL with the driver that is used here. RecordsError if it is none, or of a database that is not known."""
    try:
        known = make_url(url)
    except ArgumentError as error:
        raise RecordsError(f"not the URL of a database; it looks like {_URL_LIKE}") from error
    if known.get_backend_name() == "postgresql":
        return known.set(drivername="postgresql+psycopg")
    if known.get_backend_name() != "sqlite":
        raise RecordsError(f"moves are kept in SQLite or PostgreSQL, not in {known.get_backend_name()}: {_URL_LIKE}")
    return known


def create_records(url: str) -> None:
    """Make the tables, unless they are there. RecordsError if they cannot be made, or are of another version."""
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            _tables.create_all(connection)
            if connection.execute(sa.select(_version.c.version)).first() is None:
                connection.execute(_version.insert().values(version=VERSION))
                connection.execute(rights.insert().values(number=0, holder="", is_held=False))
    except SQLAlchemyError as error:
        raise RecordsError(f"the database of moves {engine.url} cannot be made: {words_of(error)}") from error
    finally:
        engine.dispose()
    MoveRecords(url).close()


class MoveRecords:
    """The records of all moves. RecordsError if the database is not there, damaged, or of another version."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = _engine(url)
        try:
            self._check()
        except BaseException:
            self._engine.dispose()
            raise

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def journal(self, move: str) -> "DatabaseJournal":
        """The journal of one move."""
        return DatabaseJournal(self._engine, move)

    def wish(self, move: str, wish: str) -> None:
        """Note that somebody wants something of the move, for whoever drives it to find."""
        with self._engine.begin() as connection:
            known = connection.execute(sa.select(_wishes.c.wish).filter_by(move=move, wish=wish)).first()
            if known is None:
                connection.execute(_wishes.insert().values(move=move, wish=wish, at=time.time()))

    def wishes(self, move: str) -> frozenset[str]:
        """What is wished of the move."""
        with self._engine.connect() as connection:
            return frozenset(connection.execute(sa.select(_wishes.c.wish).filter_by(move=move)).scalars())

    def _check(self) -> None:
        url = self._engine.url
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            # A new, empty one would say that no move is open. That is not known.
            raise RecordsError(f"the database of moves {url.database} is gone: whether a move is open is not known")
        try:
            with self._engine.connect() as connection:
                if url.get_backend_name() == "sqlite":
                    found = connection.execute(sa.text("PRAGMA quick_check")).scalar()
                    if found != "ok":
                        raise RecordsError(f"the database of moves {url.database} is damaged: {found}")
                version = connection.execute(sa.select(_version.c.version)).scalar()
        except (DatabaseError, sqlite3.DatabaseError) as error:
            raise RecordsError(
                f"the database of moves {url.render_as_string()} cannot be read: {words_of(error)}"
            ) from error
        if version != VERSION:
            raise RecordsError(
                f"the database of moves {url.render_as_string()} has version {version}, this program writes {VERSION}:"
                " finish open moves with the program that began them"
            )


class DatabaseJournal:
    """`entourage.ports.journal.Journal` of one move."""

    def __init__(self, engine: Engine, move: str) -> None:
        self._engine = engine
        self._move = move

    async def check(self) -> None:
        """A transaction that leaves all as it is: OutcomeUnknownError if the database does not take it."""
        await asyncio.to_thread(self._write_nothing)

    def _write_nothing(self) -> None:
        try:
            with self._engine.begin() as connection:
                connection.execute(_version.update().values(version=VERSION))
        except DBAPIError as error:
            raise OutcomeUnknownError(f"the database of moves takes no records: {words_of(error)}") from error

    async def decide(self, decision: Decision) -> Decision:
        """Insert the row; if the database says that there is one, read what stands."""
        return await asyncio.to_thread(self._decide, decision)

    def _decide(self, decision: Decision) -> Decision:
        try:
            try:
                with self._engine.begin() as connection:
                    row = {"move": self._move, "decision": decision.value, "at": time.time()}
                    connection.execute(_decisions.insert().values(**row))
            except IntegrityError:
                with self._engine.connect() as connection:
                    found = connection.execute(sa.select(_decisions.c.decision).filter_by(move=self._move))
                    return Decision(found.scalar_one())
        except (OperationalError, InterfaceError) as error:
            # Locked, full, or gone: whether the commit got through is not always known.
            if self._is_refused(error):
                raise PermanentError(f"the decision on {self._move} was not written: {words_of(error)}") from error
            raise OutcomeUnknownError(f"the decision on {self._move}: {words_of(error)}") from error
        except DatabaseError as error:
            raise PermanentError(f"the decision on {self._move}: {words_of(error)}") from error
        return decision

    def _is_refused(self, error: DBAPIError) -> bool:
        """Whether SQLite had no place to write to, and a look at the database says that nothing was written.

        Its transactions are local and over by now, so what can be read does not change any more.
        """
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code is None or code & _PRIMARY not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return False
        try:
            with self._engine.connect() as connection:
                return connection.execute(sa.select(_decisions.c.move).filter_by(move=self._move)).first() is None
        except DatabaseError:
            return False


def _engine(url: str) -> Engine:
    engine = sa.create_engine(records_url(url))
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _make_durable)
    return engine


def _make_durable(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = "IMMEDIATE"
    connection.execute("PRAGMA synchronous=FULL")  # on the disk when the commit returns
    connection.execute(f"PRAGMA busy_timeout={int(1000 * _BUSY_S)}")


def words_of(error: BaseException) -> str:
    """What the database itself said."""
    return str(getattr(error, "orig", None) or error).strip()
