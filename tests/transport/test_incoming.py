"""The framing of replies, from bytes alone."""

from __future__ import annotations

import pytest
from httptools import HttpParserError

from waypost.transport.failures import MAX_HEADER_BYTES, MAX_HEADERS, ReplyRefused
from waypost.transport.incoming import UNREAD_BYTES, Incoming

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
REPLIES: dict[str, tuple[bytes, int, bytes]] = {
    "declared": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst", 200, b"first"),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nfirst", 200, b"first"),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
    "chunked": (CHUNKED + b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n", 200, b"firstsecond"),
    "extensions": (CHUNKED + b"5;name=value\r\nfirst\r\n0;last\r\n\r\n", 200, b"first"),
    "trailers": (CHUNKED + b"5\r\nfirst\r\n0\r\nX-Trailer: 1\r\nDigest: 2\r\n\r\n", 200, b"first"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
    "informational": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst",
        200,
        b"first",
    ),
}


def fed(*pieces: bytes, method: str = "POST") -> Incoming:
    incoming = Incoming()
    incoming.reset(method)
    for piece in pieces:
        incoming.feed(piece)
    return incoming


@pytest.mark.parametrize("name", REPLIES)
def test_any_split_of_the_bytes_gives_the_same_reply(name: str) -> None:
    """Also when every byte comes alone; and no byte before the last one makes it complete."""
    wire, status, body = REPLIES[name]
    for at in range(1, len(wire)):
        incoming = fed(wire[:at])
        assert not incoming.complete
        incoming.feed(wire[at:])
        assert (incoming.status, incoming.take(), incoming.complete) == (status, body, True)
    incoming = fed(*(wire[at : at + 1] for at in range(len(wire))))
    assert (incoming.status, incoming.take(), incoming.complete) == (status, body, True)
    assert incoming.keep_alive
    assert not incoming.doubtful


def test_neither_trailers_nor_informational_headers_are_headers() -> None:
    assert fed(REPLIES["trailers"][0]).headers == [(b"Transfer-Encoding", b"chunked")]
    assert fed(REPLIES["informational"][0]).headers == [(b"Content-Length", b"5")]


def test_one_parser_takes_one_reply_after_another() -> None:
    incoming = Incoming()
    for wire, status, body in REPLIES.values():
        incoming.reset("POST")
        incoming.feed(wire)
        assert (incoming.status, incoming.take(), incoming.complete) == (status, body, True)


@pytest.mark.parametrize(
    ("wire", "complete"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nfirst", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfirst", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfirst", False),
        (CHUNKED + b"5\r\nfirst\r\n", False),
        (CHUNKED + b"5\r\nfirst\r\n0\r\n", False),
        (b"HTTP/1.1 200 OK\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"", False),
    ],
)
def test_the_end_of_the_connection_ends_only_a_body_without_framing(wire: bytes, complete: bool) -> None:
    """Everywhere else it is a cut."""
    incoming = fed(wire)
    assert not incoming.complete
    assert incoming.end() is complete
    assert not incoming.keep_alive


@pytest.mark.parametrize(
    ("wire", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", True),
    ],
)
def test_the_sender_says_whether_the_connection_goes_on(wire: bytes, keep_alive: bool) -> None:
    assert fed(wire).keep_alive is keep_alive


@pytest.mark.parametrize("extra", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
@pytest.mark.parametrize("together", [True, False])
def test_bytes_after_the_reply_are_never_part_of_it(extra: bytes, together: bool) -> None:
    """Whether they come in the same packet or in one of their own."""
    wire = REPLIES["declared"][0]
    incoming = Incoming()
    incoming.reset("POST")
    try:
        incoming.feed(wire + extra if together else wire)
        if not together:
            incoming.feed(extra)
    except (ReplyRefused, HttpParserError):
        assert together
        incoming.doubtful = True
    assert (incoming.status, incoming.complete, incoming.doubtful) == (200, True, True)
    assert incoming.take() == b"first"
    assert incoming.headers == [(b"Content-Length", b"5")]


def test_the_reply_to_head_has_no_body() -> None:
    """Its length is that of a body which does not come; the connection is not worth the doubt."""
    incoming = fed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", method="HEAD")
    assert incoming.complete
    assert incoming.doubtful


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_HEADERS + 1)], id="informational for ever"),
        pytest.param([CHUNKED + b"0\r\n" + b"X: x\r\n" * (MAX_HEADERS + 1)], id="too many trailers"),
        pytest.param([CHUNKED + b"0\r\nX: ", *[b"x" * MAX_HEADER_BYTES] * 9], id="a trailer without end"),
        pytest.param([CHUNKED + b"5;", *[b"x" * MAX_HEADER_BYTES] * 9], id="a chunk's extension without end"),
        pytest.param([b"HTTP/1.1 200 ", *[b"x" * MAX_HEADER_BYTES] * 2], id="a reason without end"),
        pytest.param([b"HTTP/1.1 200 OK\r\nX", *[b"x" * MAX_HEADER_BYTES] * 2], id="a name without end"),
        pytest.param([b"HTTP/1.1 200 OK\r\nX:", *[b" " * MAX_HEADER_BYTES] * 2], id="spaces without end"),
        pytest.param([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"], id="upgrade"),
    ],
)
def test_what_has_no_end_is_refused(pieces: list[bytes]) -> None:
    incoming = Incoming()
    incoming.reset("POST")
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which of the three, is told by the next line
        for piece in pieces:
            incoming.feed(piece)
    assert type(raised.value).__name__ in {"ReplyRefused", "HttpParserCallbackError", "HttpParserUpgrade"}
    assert not incoming.complete


def test_what_is_unread_is_counted_until_it_is_taken() -> None:
    incoming = fed(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    incoming.head_taken()
    assert incoming.unread_bytes == 0
    incoming.feed(b"x" * (UNREAD_BYTES + 1))
    assert incoming.unread_bytes == UNREAD_BYTES + 1
    incoming.take()
    assert incoming.unread_bytes == 0
