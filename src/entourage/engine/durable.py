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
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from dbos import DBOS, DBOSClient, DBOSConfig, SetWorkflowID

from entourage.engine.known import Document, Drive, KnownMove, Recover
from entourage.ports.right import RightLostError

_VERSION = "1"  # of the workflow: a process of another version leaves it alone
_NAME = "entourage.move"
_T = TypeVar("_T")
_TAKEN = "PENDING"  # what DBOS calls a workflow that a process has begun
_LOOK_AGAIN_S = 1.5
_OPEN = (_TAKEN, "ENQUEUED", "DELAYED")


class _Process:
    """What this process drives: moves that it began itself, and how to recover those of others."""

    def __init__(self) -> None:
        self.begun: dict[str, Drive] = {}
        self.recover: Recover | None = None
        self.lost: asyncio.Future[RightLostError] | None = None


_process = _Process()


@DBOS.step(name="entourage.switch")
async def _switch(move: str, document: Document) -> Document:
    drive = _process.begun.pop(move, None)
    try:
        if drive is not None:
            return await drive()
        assert _process.recover is not None
        return await _process.recover(move, document)
    except RightLostError as error:
        # The step does not end here: whoever drives the move now says how it did.
        if _process.lost is not None and not _process.lost.done():
            _process.lost.set_result(error)
        return await asyncio.Future()


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
        _process.lost = asyncio.get_running_loop().create_future()
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
        """Note the move, drive it, and return its result, which is kept. RightLostError if somebody else drives now."""
        _process.begun[move] = drive
        with SetWorkflowID(move):
            handle = await DBOS.start_workflow_async(_move, move, dict(document))
        return await _unless_lost(handle.get_result())

    async def take_over(self, moves: list[KnownMove]) -> dict[str, Document]:
        """Bring these open moves to their ends. Whoever calls this has made sure that nobody drives them any more."""
        return {move.move: await _unless_lost(self._recovered(move.move)) for move in moves}

    async def _recovered(self, move: str) -> Document:
        """DBOS puts it back into a queue, from which every process that lives may take it, one that has lost the right
        too. So it is put back until this process has taken it.
        """
        result = asyncio.create_task(DBOS.get_result_async(move))
        try:
            while not result.done():
                status = await DBOS.get_workflow_status_async(move)
                if status is not None and status.status == _TAKEN and status.executor_id != self._executor:
                    # What the endpoint of its admin server calls.
                    await asyncio.to_thread(DBOS._recover_pending_workflows, [str(status.executor_id)])
                await asyncio.wait({result}, timeout=_LOOK_AGAIN_S)
        finally:
            result.cancel()
        return await result or {}


async def _unless_lost(result: Coroutine[Any, Any, _T]) -> _T:
    assert _process.lost is not None
    waiting = asyncio.create_task(result)
    futures: set[asyncio.Future[Any]] = {waiting, _process.lost}
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        raise _process.lost.result()
    return await waiting


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
