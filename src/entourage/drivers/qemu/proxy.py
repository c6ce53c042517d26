"""A stand-in for the target's export beside the source: what the mirror asks for is answered at once and done there.

QEMU waits for its NBD client's greetings with the lock held that the guest's devices need, and for a flush while the
members stand still: round trips over the inter-site link that users would wait for. So the greetings with the target
are over before QEMU is connected here, no flush is offered, and every write is acknowledged when it is on its way. What
is not done there yet is counted: the move asks whether everything `has_arrived` before it lets the target have the
disk, and a write that fails there breaks the mirror. Until the commit it is the source's disk that counts.
"""

import asyncio
import errno
import os
import socket
import ssl
from pathlib import Path

from entourage.drivers.qemu import nbd
from entourage.ports.errors import PermanentError

# Bytes on their way to the target at the most; on a slow link all of them may have to arrive while nobody runs.
_AHEAD = 1 << 20
_GREETINGS_WITHIN_S = 10.0
_FORWARDED = (nbd.WRITE, nbd.TRIM, nbd.WRITE_ZEROES)
_BROKEN = (OSError, EOFError, nbd.NbdError)  # an ssl.SSLError is an OSError


class ExportProxy:
    """One disk's way from its mirror to the target's export."""

    def __init__(self, remote: nbd.Stream, told: list[bytes], *, name: str) -> None:
        self._name = name
        self._remote, self._told = remote, told
        self._path: Path | None = None
        self._server: asyncio.Server | None = None
        self._local: nbd.Stream | None = None
        self._pending: dict[int, int] = {}  # bytes of each request that the target has not answered, by our handle
        self._sent = 0
        self._failure: str | None = None
        self._changed = asyncio.Event()
        self._tasks = [asyncio.create_task(self._take_replies(), name=f"replies-{name}")]

    @classmethod
    async def connect(
        cls, connection: socket.socket, *, export: str, encryption: ssl.SSLContext | None, server: str
    ) -> "ExportProxy":
        """Over a TCP connection to the target, which is ours from now on. PermanentError if it gives us no export.

        `encryption` and `server` as `nbd.ask_for_export` has them.
        """
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = await asyncio.open_connection(sock=connection)
        try:
            async with asyncio.timeout(_GREETINGS_WITHIN_S):
                told = await nbd.ask_for_export(stream, export, encryption=encryption, server=server)
        except BaseException as error:
            stream[1].transport.abort()
            if isinstance(error, (*_BROKEN, TimeoutError)):
                raise PermanentError(f"no export from {server}: {_words(error)}") from error
            raise
        return cls(stream, told, name=server)

    @property
    def failure(self) -> str | None:
        """Why what was acknowledged will not all be there."""
        return self._failure

    async def listen(self, path: Path) -> None:
        """For the source's QEMU, once: the socket is gone as soon as somebody has connected."""
        self._path = path
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def has_arrived(self) -> None:
        """Until the target has everything that was acknowledged. PermanentError if it never will."""
        while self._pending and self._failure is None:
            await self._change()
        if self._failure is not None:
            raise PermanentError(self._failure)

    async def close(self) -> None:
        """Break off what is there still. May be called twice."""
        self._stop_listening()
        for stream in (self._local, self._remote):
            if stream is not None:
                stream[1].transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._local is not None:
            writer.transport.abort()
            return
        self._local = (reader, writer)
        self._stop_listening()
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        try:
            await nbd.offer_export(self._local, self._told)
            while (request := await nbd.read_request(reader)).kind != nbd.DISCONNECT:
                await self._take(request, writer)
        except EOFError:
            pass  # it was taken away there, with or without a word
        except (OSError, nbd.NbdError) as error:
            self._fail(_words(error))
        finally:
            writer.close()

    async def _take(self, request: nbd.Request, local: asyncio.StreamWriter) -> None:
        """Acknowledged means that it is on its way; only then, or what is on its way would be without bound."""
        if request.kind in _FORWARDED:
            remote = self._remote[1]
            while self._pending and sum(self._pending.values()) + len(request.data) > _AHEAD:
                await self._change()
            self._sent += 1
            self._pending[self._sent] = len(request.data)
            nbd.write_request(remote, request, handle=self._sent)
            await remote.drain()
        # The mirror asks for nothing else: flushes are not offered, and done once for all when everything has arrived.
        nbd.write_reply(local, request.handle, error=0 if request.kind in _FORWARDED else nbd.EINVAL)
        await local.drain()

    async def _take_replies(self) -> None:
        try:
            while True:
                handle, error = await nbd.read_reply(self._remote[0])
                if error:
                    self._fail(f"a write there failed: {errno.errorcode.get(error, error)}, {os.strerror(error)}")
                self._pending.pop(handle, None)
                self._changed.set()
        except _BROKEN as error:
            self._fail(_words(error))

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _fail(self, why: str) -> None:
        """The mirror is told by a connection that breaks."""
        self._failure = self._failure or f"the disk's way to {self._name} is broken: {why}"
        self._changed.set()
        if self._local is not None:
            self._local[1].transport.abort()

    async def _change(self) -> None:
        if self._failure is not None:
            raise nbd.NbdError(self._failure)
        self._changed.clear()
        await self._changed.wait()


def _words(error: BaseException) -> str:
    if isinstance(error, EOFError):
        return "it was closed there"
    return str(error) or f"no answer within {_GREETINGS_WITHIN_S:g} s"
