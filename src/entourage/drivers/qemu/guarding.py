"""The guards of all hosts that run QEMU, as `entourage.ports.guard.Guard`; `entourage.drivers.qemu.guard` is one."""

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from entourage.drivers.qemu.process import Machines, guard_socket
from entourage.model.ids import HostId, MemberId
from entourage.model.world import Service
from entourage.ports.errors import DriverError, OutcomeUnknownError, PermanentError, TemporaryError

# A guard answers within a ms, or when what it is doing just then is done.
_ANSWER_WITHIN_S = 10.0
_THERE_WITHIN_S = 2.0
_TRY_AGAIN_S = 0.5

_T = TypeVar("_T")


class QemuGuard:
    """A connection to the guard of each host where a source is. As long as it lives the guards know that we do."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines
        self._lines: dict[HostId, _Line] = {}
        self._armed: dict[HostId, set[str]] = {}  # what we have ever armed

    async def arm(self, service: Service, sources: Mapping[MemberId, HostId], *, deadline_s: float) -> None:
        """All hosts at once. PermanentError if a guard cannot: no source is there, or its QEMU does not answer it."""

        async def arm(host: HostId, members: Sequence[str]) -> None:
            self._armed.setdefault(host, set()).update(members)
            await self._line(host).ask({"op": "arm", "members": members, "deadline_s": deadline_s})

        await _all([arm(host, members) for host, members in _by_host(sources).items()])

    async def disarm(self, service: Service, sources: Mapping[MemberId, HostId]) -> frozenset[MemberId]:
        """All hosts at once: a fraction of a ms.

        OutcomeUnknownError if a guard has been started anew since it was armed: what the one before has done nobody
        knows.
        """

        async def disarm(host: HostId, members: Sequence[str]) -> list[str]:
            answer = await self._line(host).ask({"op": "disarm", "members": members}, again=True)
            forgotten = self._armed.get(host, set()) & set(answer["unknown"])
            if forgotten:
                raise OutcomeUnknownError(f"the guard on {host} has forgotten that it was armed for {_list(forgotten)}")
            run_again: list[str] = answer["run_again"]
            return run_again

        answers = await _all([disarm(host, members) for host, members in _by_host(sources).items()])
        return frozenset(MemberId(member) for run_again in answers for member in run_again)

    async def end(self) -> None:
        """The move is over: nobody has to finish it when we are gone. What cannot be told is found out by trying."""
        with suppress(DriverError):
            await _all([line.ask({"op": "end"}) for line in self._lines.values() if line.is_open])

    async def is_there(self, host: HostId) -> bool:
        """Whether the host's guard answers."""
        try:
            async with asyncio.timeout(_THERE_WITHIN_S):
                await self._line(host).ask({"op": "status"}, again=True)
        except (DriverError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Be gone: members that are armed and stand still are run again, and a move that is not over is finished."""
        for line in self._lines.values():
            await line.close()
        self._lines.clear()

    def _line(self, host: HostId) -> "_Line":
        if host not in self._lines:
            self._lines[host] = _Line(host, guard_socket(self._machines.access(host)))
        return self._lines[host]


class _Line:
    """The connection to one guard, made when first used, and again after it was lost."""

    def __init__(self, host: HostId, socket: Path) -> None:
        self._host = host
        self._socket = socket
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._streams is not None

    async def ask(self, request: Mapping[str, Any], *, again: bool = False) -> dict[str, Any]:
        """The guard's answer. With `again` the request is sent once more if the connection was lost.

        TemporaryError if no guard listens, PermanentError with its words if it refuses, OutcomeUnknownError if no
        answer came.
        """
        async with self._turn:
            try:
                return await self._ask(request)
            except OutcomeUnknownError:
                if not again:
                    raise
                return await self._ask(request)

    async def close(self) -> None:
        """End the connection."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with suppress(OSError):
                await streams[1].wait_closed()

    async def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        reader, writer = self._streams or await self._connect()
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                writer.write(json.dumps(request).encode() + b"\n")
                answer: dict[str, Any] = json.loads(await reader.readuntil(b"\n"))
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            await self.close()
            raise OutcomeUnknownError(f"the guard on {self._host} did not answer {request['op']!r}") from error
        except asyncio.CancelledError:  # its answer would be taken for that to the next request
            await self.close()
            raise
        if "error" in answer:
            raise PermanentError(f"the guard on {self._host} refused {request['op']!r}: {answer['error']}")
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            self._streams = await asyncio.open_unix_connection(str(self._socket))
        except OSError as error:
            message = f"the guard on {self._host} does not run: {error.strerror or error}"
            raise TemporaryError(message, delay=_TRY_AGAIN_S) from error
        return self._streams


async def _all(asked: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """All of them together, each to its end; then the first error, if any."""
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    answers = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        answers.append(outcome)
    return answers


def _by_host(sources: Mapping[MemberId, HostId]) -> dict[HostId, list[str]]:
    by_host: dict[HostId, list[str]] = {}
    for member, host in sorted(sources.items()):
        by_host.setdefault(host, []).append(member)
    return by_host


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names))
