"""Moves that outlive the process that drives them: each is a workflow of DBOS, with the switch as its one step.

DBOS keeps what a move was to do until the move has ended, whoever drives it, and hands it to one new process when the
old one is gone. A step that was begun and not ended is run again from its beginning: by then it is a recovery, which
looks at what is there and asks the journal how the move was decided.
"""

import asyncio
import logging
import os
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from dbos import DBOS, DBOSClient, DBOSConfig, SetWorkflowID

from entourage.engine.known import Document, Drive, KnownMove, Recover

_VERSION = "1"  # of the workflow: a process of another version leaves it alone
_NAME = "entourage.move"
_OPEN = ("PENDING", "ENQUEUED", "DELAYED")


class _Process:
    """What this process drives: moves that it began itself, and how to recover those of others."""

    def __init__(self) -> None:
        self.begun: dict[str, Drive] = {}
        self.recover: Recover | None = None


_process = _Process()


@DBOS.step(name="entourage.switch")
async def _switch(move: str, document: Document) -> Document:
    drive = _process.begun.pop(move, None)
    if drive is not None:
        return await drive()
    assert _process.recover is not None
    return await _process.recover(move, document)


@DBOS.workflow(name=_NAME)
async def _move(move: str, document: Document) -> Document:
    return await _switch(move, document)


class DurableMoves:
    """The moves of one database, and this process as one of those that drive them. One at a time in a process."""

    def __init__(self, url: str, *, recover: Recover) -> None:
        """`recover` brings a move to its end that another process has begun: it gets the move's id and document."""
        self._url = url
        self._executor = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        _process.recover = recover

    async def __aenter__(self) -> Self:
        """Connect; in a running loop, so that workflows run in it."""
        _quiet()
        config: DBOSConfig = {
            "name": "entourage",
            "system_database_url": self._url,
            "application_version": _VERSION,
            "executor_id": self._executor,  # shared by two processes, both would run the same step
            "log_level": "CRITICAL",
        }
        DBOS(config=config)
        DBOS.launch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect. A move that this process still drives stays open."""
        DBOS.destroy()
        # It has made its threads the loop's, and has just ended them.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())

    async def begin(self, move: str, document: Document, drive: Drive) -> Document:
        """Note the move, drive it, and return its result, which is kept."""
        _process.begun[move] = drive
        with SetWorkflowID(move):
            handle = await DBOS.start_workflow_async(_move, move, dict(document))
        return await handle.get_result()

    async def take_over(self, moves: list[KnownMove]) -> dict[str, Document]:
        """Bring these open moves to their ends. Whoever calls this has made sure that their executors are gone."""
        executors = sorted({move.executor for move in moves if move.executor is not None})
        handles = DBOS._recover_pending_workflows(executors)  # what the endpoint of its admin server calls
        results = {}
        for handle in handles:
            results[handle.workflow_id] = await DBOS.get_result_async(handle.workflow_id) or {}
        return results


def create_moves(url: str) -> None:
    """Make what DBOS needs in a database."""
    _quiet()
    DBOS.migrate(url)


def known_moves(url: str) -> list[KnownMove]:
    """All moves of the database, the latest first; none if no move was ever begun in it."""
    client = DBOSClient(system_database_url=url)
    try:
        found = client.list_workflows(name=_NAME, sort_desc=True)
        return [
            KnownMove(
                move=status.workflow_id,
                began=(status.created_at or 0) / 1000,
                document=(status.input or {"args": ("", {})})["args"][1],
                ended=None if status.status in _OPEN else (status.output or {"outcome": "unresolved"}),
                executor=status.executor_id,
            )
            for status in found
        ]
    finally:
        client.destroy()


def _quiet() -> None:
    logging.getLogger("dbos").setLevel(logging.CRITICAL)  # what goes wrong is raised, and told in our words
