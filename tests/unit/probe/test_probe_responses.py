import pytest
from hypothesis import given
from hypothesis import strategies as st

from entourage.probe.responses import Response, ResponseReader, UnreadableError


def encoded(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nServer: x\r\ncontent-LENGTH: %d\r\n\r\n" % (status, len(body)) + body


@given(st.lists(st.tuples(st.integers(100, 599), st.binary(max_size=40)), max_size=4), st.data())
def test_responses_are_found_however_the_bytes_arrive(responses: list[tuple[int, bytes]], data: st.DataObject) -> None:
    wire = b"".join(encoded(status, body) for status, body in responses)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    reader = ResponseReader()
    found: list[Response] = []
    for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        found += reader.feed(wire[a:b])
    assert found == [Response(status, body) for status, body in responses]
    assert reader.at_eof() is None


def test_a_response_without_a_length_ends_with_the_connection() -> None:
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.0 503 Service Unavailable\r\n\r\nsor") == []
    assert reader.feed(b"ry") == []
    assert reader.at_eof() == Response(503, b"sorry")


def test_a_response_shorter_than_its_length_is_not_complete() -> None:
    reader = ResponseReader()
    assert reader.feed(encoded(200, b"hello")[:-1]) == []
    assert reader.at_eof() is None


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH\r\n", b"x", b"HTTP/2", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1" + b"a" * 20000]
)
def test_what_is_no_response_is_refused(data: bytes) -> None:
    reader = ResponseReader()
    with pytest.raises(UnreadableError):
        reader.feed(data)
    assert reader.at_eof() is None
