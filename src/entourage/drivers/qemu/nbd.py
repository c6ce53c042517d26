"""The NBD protocol, as much of it as the way of a disk's mirror to its export needs, over asyncio's streams.

Source: "The NBD protocol" (doc/proto.md of the reference implementation), fixed newstyle negotiation, simple replies.
"""

import asyncio
import ssl
import struct
from dataclasses import dataclass

WRITE, DISCONNECT, TRIM, WRITE_ZEROES = 1, 2, 4, 6
EINVAL = 22

_GREETING, _OPTION_MAGIC, _ANSWER_MAGIC = b"NBDMAGICIHAVEOPT", b"IHAVEOPT", 0x3E889045565A9
_FIXED_NO_ZEROES = 0b11  # of the flags in both greetings: fixed newstyle, and no padding
_OPT_ABORT, _OPT_STARTTLS, _OPT_GO = 2, 5, 7
_REP_ACK, _REP_INFO, _REP_ERR_UNSUP, _REP_IS_ERROR = 1, 3, 0x80000001, 0x80000000
_INFO_EXPORT = 0
# Of an export's flags: flushes, writes that are to be durable at once, several connections, and zeroes only if they are
# fast. Whoever answers early cannot keep those. And QEMU flushes with its big lock held whenever a member stops: asked
# for, an orchestrator that stands still would keep it from answering anybody.
_CANNOT_KEEP = 1 << 2 | 1 << 3 | 1 << 8 | 1 << 11
_MOST = 32 << 20  # bytes of an option or request: more is not meant, by the protocol's own advice

_OPTION, _ANSWER = struct.Struct(">8sII"), struct.Struct(">QIII")
_REQUEST, _REPLY = struct.Struct(">IHHQQI"), struct.Struct(">IIQ")
_REQUEST_MAGIC, _REPLY_MAGIC = 0x25609513, 0x67446698

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class NbdError(Exception):
    """The other side refuses, or does not speak as the protocol has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks for: `length` bytes from `offset`, with `data` of that length if they are to be written."""

    kind: int
    flags: int
    handle: int
    offset: int
    length: int
    data: bytes = b""


async def ask_for_export(stream: Stream, name: str, *, encryption: ssl.SSLContext | None, server: str) -> list[bytes]:
    """As a client, up to where requests begin; what the server tells of the export. NbdError if it gives us none.

    With `encryption` by TLS only, and with the `server` of that name.
    """
    reader, writer = stream
    if await reader.readexactly(16) != _GREETING:
        raise NbdError("no NBD server of this kind")
    (flags,) = struct.unpack(">H", await reader.readexactly(2))
    if flags & _FIXED_NO_ZEROES != _FIXED_NO_ZEROES:
        raise NbdError("an NBD server that is too old")
    writer.write(struct.pack(">I", _FIXED_NO_ZEROES))
    if encryption is not None:
        await _ask(stream, _OPT_STARTTLS, b"")
        await writer.start_tls(encryption, server_hostname=server)
    wanted = name.encode()
    return await _ask(stream, _OPT_GO, struct.pack(">I", len(wanted)) + wanted + struct.pack(">H", 0))


async def _ask(stream: Stream, option: int, data: bytes) -> list[bytes]:
    """The informations that come before the server agrees."""
    reader, writer = stream
    writer.write(_OPTION.pack(_OPTION_MAGIC, option, len(data)) + data)
    told: list[bytes] = []
    while True:
        magic, _, kind, length = _ANSWER.unpack(await reader.readexactly(_ANSWER.size))
        if magic != _ANSWER_MAGIC or length > _MOST:
            raise NbdError("an answer that is none")
        answer = await reader.readexactly(length)
        if kind == _REP_ACK:
            return told
        if kind & _REP_IS_ERROR:
            raise NbdError(answer.decode(errors="replace") or f"refused, error {kind & ~_REP_IS_ERROR}")
        told.append(answer)


async def offer_export(stream: Stream, told: list[bytes]) -> None:
    """As a server, up to where requests begin: an export of which we were `told` this. NbdError if it is not taken."""
    reader, writer = stream
    writer.write(_GREETING + struct.pack(">H", _FIXED_NO_ZEROES))
    await reader.readexactly(4)
    while True:
        magic, option, length = _OPTION.unpack(await reader.readexactly(_OPTION.size))
        if magic != _OPTION_MAGIC or length > _MOST:
            raise NbdError("an option that is none")
        await reader.readexactly(length)
        if option == _OPT_GO:
            for each in told:
                _answer(writer, option, _REP_INFO, _kept(each))
            _answer(writer, option, _REP_ACK)
            return
        if option == _OPT_ABORT:
            raise NbdError("the client does not want it")
        _answer(writer, option, _REP_ERR_UNSUP)  # structured replies, and what comes with them


def _answer(writer: asyncio.StreamWriter, option: int, kind: int, data: bytes = b"") -> None:
    writer.write(_ANSWER.pack(_ANSWER_MAGIC, option, kind, len(data)) + data)


def _kept(told: bytes) -> bytes:
    """An information without what we cannot promise."""
    (kind,) = struct.unpack_from(">H", told)
    if kind != _INFO_EXPORT:
        return told
    _, size, flags = struct.unpack(">HQH", told)
    return struct.pack(">HQH", kind, size, flags & ~_CANNOT_KEEP)


async def read_request(reader: asyncio.StreamReader) -> Request:
    """The next one."""
    magic, flags, kind, handle, offset, length = _REQUEST.unpack(await reader.readexactly(_REQUEST.size))
    if magic != _REQUEST_MAGIC or (kind == WRITE and length > _MOST):
        raise NbdError("a request that is none")
    data = await reader.readexactly(length) if kind == WRITE else b""
    return Request(kind=kind, flags=flags, handle=handle, offset=offset, length=length, data=data)


def write_request(writer: asyncio.StreamWriter, request: Request, *, handle: int) -> None:
    """Send the request on under another handle."""
    head = _REQUEST.pack(_REQUEST_MAGIC, request.flags, request.kind, handle, request.offset, request.length)
    writer.write(head + request.data)


async def read_reply(reader: asyncio.StreamReader) -> tuple[int, int]:
    """The next one, to a request without data in its reply: the handle, and the error or 0."""
    magic, error, handle = _REPLY.unpack(await reader.readexactly(_REPLY.size))
    if magic != _REPLY_MAGIC:
        raise NbdError("a reply that is none")
    return handle, error


def write_reply(writer: asyncio.StreamWriter, handle: int, *, error: int = 0) -> None:
    """Answer the request of this handle."""
    writer.write(_REPLY.pack(_REPLY_MAGIC, error, handle))
