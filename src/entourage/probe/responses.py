"""Just enough HTTP/1.1 to read the responses of keep-alive connections (RFC 9112, section 6)."""

import re
from dataclasses import dataclass

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*(?:\r\n|$)", re.IGNORECASE)
_HEAD_MAX = 16384


class UnreadableError(ValueError):
    """The bytes are not a response whose end can be found."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response."""

    status: int
    body: bytes


class ResponseReader:
    """Cuts a byte stream into responses.

    A response without Content-Length ends with the connection: `at_eof` returns it. Chunked bodies are not decoded.
    """

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[Response]:
        """The responses that `data` completes. Raises UnreadableError, and forgets all, if this is no HTTP/1."""
        self._data += data
        responses = []
        try:
            while (response := self._next()) is not None:
                responses.append(response)
        except UnreadableError:
            self._data = b""
            raise
        return responses

    def at_eof(self) -> Response | None:
        """The response that the end of the connection completes, if there is one."""
        head, separator, body = self._data.partition(b"\r\n\r\n")
        if not separator or _LENGTH.search(head):
            return None
        return Response(_status(head), body)

    def _next(self) -> Response | None:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > _HEAD_MAX or not b"HTTP/1."[: len(self._data)] == self._data[:7]:
                raise UnreadableError(f"not an HTTP response: {self._data[:40]!r}")
            return None
        head = self._data[:end]
        status = _status(head)
        length = _LENGTH.search(head)
        if length is None:
            return None
        stop = end + 4 + int(length[1])
        if len(self._data) < stop:
            return None
        response = Response(status, self._data[end + 4 : stop])
        self._data = self._data[stop:]
        return response


def _status(head: bytes) -> int:
    match = _STATUS.match(head)
    if match is None:
        raise UnreadableError(f"not an HTTP response: {head[:40]!r}")
    return int(match[1])
