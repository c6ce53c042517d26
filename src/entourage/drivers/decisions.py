"""What rules decided, and what came of it: rows in the database of moves, never changed but for their outcome."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from entourage.drivers.records import RecordsError, records_url, words_of

_tables = sa.MetaData()
_decided = sa.Table(
    "entourage_rule_decisions",
    _tables,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("service", sa.String, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("ended", sa.Float),
    sa.Column("outcome", sa.Text),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDecision:
    """One decision. Times in seconds since the epoch; `ended`, `outcome` None while nobody has ended acting on it."""

    number: int
    at: float
    service: str
    document: Mapping[str, Any]
    ended: float | None
    outcome: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """The decision for `--json`."""
        return {
            "number": self.number,
            "at": self.at,
            **self.document,
            "ended": self.ended,
            "outcome": None if self.outcome is None else dict(self.outcome),
        }


class DecisionRecords:
    """The decisions of one lab. RecordsError if the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(records_url(url))
        try:
            _tables.create_all(self._engine)
        except SQLAlchemyError as error:
            self._engine.dispose()
            raise RecordsError(f"decisions cannot be kept: {words_of(error)}") from error

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def keep(self, service: str, document: Mapping[str, Any], *, outcome: Mapping[str, Any] | None = None) -> int:
        """Keep a decision; its number. With an `outcome` nobody will act on it."""
        now = time.time()
        row = _decided.insert().values(at=now, service=service, document=json.dumps(document))
        if outcome is not None:
            row = row.values(ended=now, outcome=json.dumps(outcome))
        try:
            with self._engine.begin() as connection:
                (number,) = connection.execute(row).inserted_primary_key or (0,)
        except SQLAlchemyError as error:
            raise RecordsError(f"a decision cannot be kept: {words_of(error)}") from error
        return int(number)

    def end(self, number: int, outcome: Mapping[str, Any]) -> None:
        """Say what came of it."""
        row = _decided.update().filter_by(number=number).values(ended=time.time(), outcome=json.dumps(outcome))
        try:
            with self._engine.begin() as connection:
                connection.execute(row)
        except SQLAlchemyError as error:
            raise RecordsError(f"a decision's outcome cannot be kept: {words_of(error)}") from error

    def latest(self, *, service: str | None = None, most: int | None = 100, ended: bool = False) -> list[KeptDecision]:
        """The latest first, `most` of them or all; `ended`: only those of which an outcome is kept."""
        asked = sa.select(_decided).order_by(_decided.c.number.desc()).limit(most)
        if service is not None:
            asked = asked.filter_by(service=service)
        if ended:
            asked = asked.where(_decided.c.ended.is_not(None))
        try:
            with self._engine.begin() as connection:
                rows = connection.execute(asked).all()
        except SQLAlchemyError as error:
            raise RecordsError(f"the decisions cannot be read: {words_of(error)}") from error
        return [
            KeptDecision(
                number=row.number,
                at=row.at,
                service=row.service,
                document=json.loads(row.document),
                ended=row.ended,
                outcome=None if row.outcome is None else json.loads(row.outcome),
            )
            for row in rows
        ]

    def unfinished(self) -> list[KeptDecision]:
        """Those that somebody began to act on and of which nothing came that was kept."""
        return [each for each in self.latest(most=1000) if each.ended is None and each.document["verdict"] == "do"]
