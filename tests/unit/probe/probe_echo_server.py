"""A service on 127.0.0.1 for the probe's tests, which misbehaves as it is told."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

_ECHO = re.compile(rb"GET /echo\?s=([\w.-]+)-(\d+)&n=(\d+) HTTP/1.1\r\n.*\r\n\r\n", re.DOTALL)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


def response(body: bytes) -> bytes:
    return _OK % len(body) + body


def replies(region: str, s: int, n: int) -> dict[str, bytes]:
    """What is sent for message `n` of session `s` under each fault."""
    right = response(f"web1 {region}-{s} {n}\n".encode())
    return {
        "none": right,
        "stall": right,
        "close after": right,
        "future number": response(f"web1 {region}-{s} {n + 100}\n".encode()),
        "other session": response(f"web1 {region}-{s + 1} {n}\n".encode()),
        "other region": response(f"web1 elsewhere-{s} {n}\n".encode()),
        "twice": right + right,
        "late": response(b"web1 someone else\n") + right,
        "503": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        "garbage": b"\x00\x01\x02 what?\r\n\r\n",
    }


@dataclass
class EchoService:
    """`faults` maps (session, message) to what to do instead of answering; `request_faults` the n-th request.

    `swallow`, `double`, `swap` are sequences of the stream: not echoed, echoed twice, echoed after the next one.
    """

    faults: Mapping[tuple[int, int], str] = field(default_factory=dict)
    request_faults: Mapping[int, str] = field(default_factory=dict)
    swallow: frozenset[int] = frozenset()
    double: frozenset[int] = frozenset()
    swap: frozenset[int] = frozenset()
    release: asyncio.Event = field(default_factory=asyncio.Event)
    refused_greetings: int = 0
    requests_seen: int = 0
    on_many_requests: tuple[int, asyncio.Event] | None = None  # set the event at the so-manieth request
    session_port: int = 0
    request_port: int = 0
    stream_port: int = 0

    async def on_session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                match = _ECHO.fullmatch(await reader.readuntil(b"\r\n\r\n"))
                assert match is not None
                region, s, n = match[1].decode(), int(match[2]), int(match[3])
                await self._answer(writer, region, s, n)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, region: str, s: int, n: int) -> None:
        if n == 1 and self.refused_greetings > 0:
            self.refused_greetings -= 1
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\nno server\n")
            raise ConnectionResetError
        fault = self.faults.get((s, n), "none")
        if fault == "stall":
            await self.release.wait()
        if fault == "reset":
            reset(writer)
        else:
            writer.write(replies(region, s, n)[fault])
        if fault in {"reset", "close after"}:
            raise ConnectionResetError

    async def on_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.requests_seen = self.requests_seen, self.requests_seen + 1
        if self.on_many_requests is not None and number >= self.on_many_requests[0]:
            self.on_many_requests[1].set()
        try:
            await reader.readuntil(b"\r\n\r\n")
            match self.request_faults.get(number):
                case None:
                    writer.write(response(b"hello\n"))
                case "reset":
                    reset(writer)
                case "503":
                    writer.write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n")
                case "cut":
                    writer.write(response(b"hello\n")[:-3])
                case "silence":
                    await reader.read()
                case other:
                    raise AssertionError(other)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class _StreamEcho(asyncio.DatagramProtocol):
    def __init__(self, service: EchoService) -> None:
        self._service = service
        self._held: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # 3.11's is one without being its subclass

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        sequence = int.from_bytes(data[:8], "big")
        if sequence in self._service.swallow:
            return
        if sequence in self._service.swap:
            self._held = data
            return
        for _ in range(2 if sequence in self._service.double else 1):
            self._transport.sendto(data, addr)
        if self._held is not None:
            self._transport.sendto(self._held, addr)
            self._held = None


@asynccontextmanager
async def serving(service: EchoService) -> AsyncIterator[EchoService]:
    loop = asyncio.get_running_loop()
    sessions = await asyncio.start_server(service.on_session, "127.0.0.1", service.session_port)
    requests = await asyncio.start_server(service.on_request, "127.0.0.1", 0)
    stream, _ = await loop.create_datagram_endpoint(lambda: _StreamEcho(service), ("127.0.0.1", 0))
    service.session_port = sessions.sockets[0].getsockname()[1]
    service.request_port = requests.sockets[0].getsockname()[1]
    service.stream_port = stream.get_extra_info("sockname")[1]
    try:
        yield service
    finally:
        stream.close()
        for server in (sessions, requests):
            server.close()
            await server.wait_closed()
