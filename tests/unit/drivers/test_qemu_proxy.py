"""The stand-in for a target's export: what it acknowledges, what it waits for, and how it breaks.

Both of its ends are played here; with QEMU at both ends `tests/lab/test_qemu_disk.py` tries it.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from entourage.drivers.qemu import nbd
from entourage.drivers.qemu.proxy import ExportProxy
from entourage.ports.errors import PermanentError

KIB, MIB = 2**10, 2**20
SIZE, HAS_FLAGS, CAN_FLUSH, CAN_FUA, MULTI_CONN = 16 * MIB, 1, 1 << 2, 1 << 3, 1 << 8
TOLD = [struct.pack(">HQH", 0, SIZE, HAS_FLAGS | CAN_FLUSH | CAN_FUA | MULTI_CONN)]
WITHIN_S = 10


class Target:
    """A target's export that answers when it is let."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[nbd.Request] = asyncio.Queue()
        self.writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        await nbd.offer_export((reader, writer), TOLD)
        try:
            while True:
                self.asked.put_nowait(await nbd.read_request(reader))
        except (OSError, EOFError):
            writer.close()

    async def answer(self, *, error: int = 0) -> nbd.Request:
        request = await self.asked.get()
        assert self.writer is not None
        nbd.write_reply(self.writer, request.handle, error=error)
        return request


class Mirror:
    """The source's QEMU."""

    def __init__(self, stream: nbd.Stream) -> None:
        self.reader, self.writer = stream
        self._handle = 100

    async def ask(self, kind: int, data: bytes = b"", *, length: int = 0) -> int:
        """The error in the answer, or 0."""
        self._handle += 1
        request = nbd.Request(kind=kind, flags=0, handle=0, offset=0, length=len(data) or length, data=data)
        nbd.write_request(self.writer, request, handle=self._handle)
        handle, error = await nbd.read_reply(self.reader)
        assert handle == self._handle
        return error


Scene = Callable[[Mirror, ExportProxy, Target], Awaitable[None]]


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[socket.socket]:
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    try:
        yield await asyncio.to_thread(socket.create_connection, server.sockets[0].getsockname())
    finally:
        server.close()


def play(scene: Scene, directory: Path) -> None:
    async def work() -> None:
        target, path = Target(), directory / "mirror"
        async with connected(target) as connection:
            proxy = await ExportProxy.connect(connection, export="disk", encryption=None, server="west-h1")
            try:
                await proxy.listen(path)
                stream = await asyncio.open_unix_connection(path)
                told = await nbd.ask_for_export(stream, "disk", encryption=None, server="")
                assert told == [struct.pack(">HQH", 0, SIZE, HAS_FLAGS)]  # one connection, and no flush
                assert not path.is_socket()
                await scene(Mirror(stream), proxy, target)
                stream[1].close()
            finally:
                await proxy.close()
                await proxy.close()

    asyncio.run(asyncio.wait_for(work(), WITHIN_S))


def test_a_write_is_acknowledged_when_it_is_sent_and_counted_until_it_is_there(tmp_path: Path) -> None:
    async def scene(mirror: Mirror, proxy: ExportProxy, target: Target) -> None:
        await proxy.has_arrived()  # nothing was sent
        assert await mirror.ask(nbd.WRITE, b"x" * 4 * KIB) == 0
        arrived = asyncio.create_task(proxy.has_arrived())
        await asyncio.wait({arrived}, timeout=0.05)
        assert not arrived.done()
        request = await target.answer()
        assert (request.kind, request.data) == (nbd.WRITE, b"x" * 4 * KIB)
        await arrived

    play(scene, tmp_path)


def test_zeroes_are_passed_on(tmp_path: Path) -> None:
    async def scene(mirror: Mirror, proxy: ExportProxy, target: Target) -> None:
        assert await mirror.ask(nbd.WRITE_ZEROES, length=MIB) == 0
        request = await target.answer()
        assert (request.kind, request.length) == (nbd.WRITE_ZEROES, MIB)
        await proxy.has_arrived()

    play(scene, tmp_path)


def test_what_it_does_not_know_is_refused(tmp_path: Path) -> None:
    async def scene(mirror: Mirror, _proxy: ExportProxy, target: Target) -> None:
        assert await mirror.ask(0, length=512) == nbd.EINVAL  # a read
        assert target.asked.empty()

    play(scene, tmp_path)


def test_a_write_that_fails_there_breaks_the_mirror(tmp_path: Path) -> None:
    async def scene(mirror: Mirror, proxy: ExportProxy, target: Target) -> None:
        assert await mirror.ask(nbd.WRITE, b"x" * 512) == 0
        await target.answer(error=errno.ENOSPC)
        with pytest.raises(PermanentError, match="west-h1 is broken: a write there failed: ENOSPC, No space left"):
            await proxy.has_arrived()
        with pytest.raises((OSError, EOFError)):
            await mirror.ask(nbd.WRITE, b"x" * 512)

    play(scene, tmp_path)


def test_a_target_that_goes_breaks_the_mirror(tmp_path: Path) -> None:
    async def scene(mirror: Mirror, proxy: ExportProxy, target: Target) -> None:
        assert await mirror.ask(nbd.WRITE, b"x" * 512) == 0
        assert target.writer is not None
        target.writer.close()
        with pytest.raises(PermanentError, match="closed there"):
            await proxy.has_arrived()
        assert await mirror.reader.read() == b""

    play(scene, tmp_path)


def test_no_more_than_a_mebibyte_is_acknowledged_ahead(tmp_path: Path) -> None:
    async def scene(mirror: Mirror, proxy: ExportProxy, target: Target) -> None:
        piece = b"x" * 512 * KIB
        assert [await mirror.ask(nbd.WRITE, piece) for _ in range(2)] == [0, 0]
        third = asyncio.create_task(mirror.ask(nbd.WRITE, piece))
        await asyncio.wait({third}, timeout=0.05)
        assert not third.done()
        await target.answer()
        assert await third == 0
        await target.answer()
        await target.answer()
        await proxy.has_arrived()

    play(scene, tmp_path)


def test_who_is_no_server_of_an_export_is_refused_with_words() -> None:
    async def connect(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]) -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        connection = await asyncio.to_thread(socket.create_connection, server.sockets[0].getsockname())
        try:
            await ExportProxy.connect(connection, export="disk", encryption=None, server="west-h1")
        finally:
            server.close()

    for said, words in (
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no NBD server of this kind"),
        (b"", "closed there"),
        (b"NBDMAGICIHAVEOPT\0\0", "too old"),
    ):

        def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes = said) -> None:
            writer.write(said)
            writer.close()

        with pytest.raises(PermanentError, match=f"no export from west-h1: .*{words}"):
            asyncio.run(asyncio.wait_for(connect(serve), WITHIN_S))
