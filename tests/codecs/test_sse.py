"""Server-sent events against the WHATWG rules (HTML, 9.2.6), and against bytes split anywhere."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.codecs.sse import SseDecoder, SseEvent, encode_comment, encode_event
from waypost.errors import MalformedResponse

BOM = b"\xef\xbb\xbf"
NO_LINE_ENDS = "a\x0b\x0c\x85\u2028b".encode()
"""What Python's `splitlines` would split and the standard does not."""


def decode(*chunks: bytes, max_event_bytes: int = 10_000) -> list[SseEvent]:
    decoder = SseDecoder(max_event_bytes=max_event_bytes)
    return [event for chunk in chunks for event in decoder.feed(chunk)]


RULES: dict[str, tuple[list[bytes], list[SseEvent]]] = {
    # Line ends
    "LF": ([b"data: a\n\n"], [SseEvent(b"a")]),
    "CR": ([b"data: a\r\r"], [SseEvent(b"a")]),
    "CRLF": ([b"data: a\r\n\r\n"], [SseEvent(b"a")]),
    "mixed ends": ([b"data: a\r\ndata: b\rdata: c\n\r\n"], [SseEvent(b"a\nb\nc")]),
    "CR and LF in two chunks are one end": ([b"data: a\r", b"\ndata: b\n\n"], [SseEvent(b"a\nb")]),
    "CR and LF around an empty chunk": ([b"data: a\r", b"", b"\ndata: b\n\n"], [SseEvent(b"a\nb")]),
    "LF and CR are two ends": ([b"data: a\n\rdata: b\n\n"], [SseEvent(b"a"), SseEvent(b"b")]),
    "a CR ends a line before anything follows": ([b"data: a\n\r"], [SseEvent(b"a")]),
    "no other character ends a line": ([b"data: " + NO_LINE_ENDS + b"\n\n"], [SseEvent(NO_LINE_ENDS)]),
    # Byte order mark
    "BOM": ([BOM + b"data: a\n\n"], [SseEvent(b"a")]),
    "BOM split": ([BOM[:1], BOM[1:2], BOM[2:] + b"data: a\n\n"], [SseEvent(b"a")]),
    "only one BOM": ([BOM + BOM + b"data: a\n\ndata: b\n\n"], [SseEvent(b"b")]),
    "BOM at the start only": ([b"\n" + BOM + b"data: a\n\n"], []),
    "BOM in data stays": ([b"data: " + BOM + b"\n\n"], [SseEvent(BOM)]),
    "what only begins like a BOM stays": ([BOM[:2], b"data: a\n\ndata: b\n\n"], [SseEvent(b"b")]),
    # Comments and fields
    "comment": ([b": comment\ndata: a\n:\n\n"], [SseEvent(b"a")]),
    "comments alone": ([b": ping\n\n: ping\n\n"], []),
    "a field is case-sensitive": ([b"Data: a\nDATA: a\n\n"], []),
    "a field starts its line": ([b" data: a\n\n"], []),
    "an unknown field is ignored": ([b"foo: 1\ndata: a\nbar\n\n"], [SseEvent(b"a")]),
    # Data
    "several data lines": ([b"data: a\ndata: b\n\n"], [SseEvent(b"a\nb")]),
    "an empty data line between": ([b"data: a\ndata:\ndata: b\n\n"], [SseEvent(b"a\n\nb")]),
    "an empty data line": ([b"data:\n\n"], [SseEvent(b"")]),
    "two empty data lines": ([b"data\ndata\n\n"], [SseEvent(b"\n")]),
    "a field without colon has an empty value": ([b"data\n\n"], [SseEvent(b"")]),
    "no space": ([b"data:a\n\n"], [SseEvent(b"a")]),
    "one leading space only": ([b"data:  a \n\n"], [SseEvent(b" a ")]),
    "a tab is no space": ([b"data:\ta\n\n"], [SseEvent(b"\ta")]),
    "colons in the value stay": ([b"data: a: b:c\n\n"], [SseEvent(b"a: b:c")]),
    # Type
    "type": ([b"event: ping\ndata: a\n\n"], [SseEvent(b"a", event="ping")]),
    "the last type wins": ([b"event: a\nevent: b\ndata: x\n\n"], [SseEvent(b"x", event="b")]),
    "a type may be emptied": ([b"event: a\nevent\ndata: x\n\n"], [SseEvent(b"x")]),
    "a type ends with its event": ([b"event: a\ndata: 1\n\ndata: 2\n\n"], [SseEvent(b"1", event="a"), SseEvent(b"2")]),
    "no data: not given, but its type is reset": ([b"event: a\n\ndata: 2\n\n"], [SseEvent(b"2")]),
    # Id
    "id": ([b"id: 7\ndata: a\n\n"], [SseEvent(b"a", id="7")]),
    "an id lasts": ([b"id: 7\ndata: a\n\ndata: b\n\n"], [SseEvent(b"a", id="7"), SseEvent(b"b", id="7")]),
    "an id of an event without data lasts": ([b"id: 7\n\ndata: b\n\n"], [SseEvent(b"b", id="7")]),
    "an id may be emptied": ([b"id: 7\ndata: a\n\nid\ndata: b\n\n"], [SseEvent(b"a", id="7"), SseEvent(b"b")]),
    "an id with NUL is ignored": ([b"id: 7\nid: 8\0\ndata: a\n\n"], [SseEvent(b"a", id="7")]),
    # Ends
    "an unfinished event is discarded": ([b"data: a\n\ndata: b\n"], [SseEvent(b"a")]),
    "an unfinished line is discarded": ([b"data: a\n\ndata: b"], [SseEvent(b"a")]),
    "blank lines alone": ([b"\n\n\r\n\r\r"], []),
    "nothing": ([b""], []),
    "UTF-8 split inside a character": ([b"data: \xe2", b"\x82", b"\xac\n\n"], [SseEvent("€".encode())]),
}  # fmt: skip


@pytest.mark.parametrize(("chunks", "events"), RULES.values(), ids=RULES.keys())
def test_rule(chunks: list[bytes], events: list[SseEvent]) -> None:
    assert decode(*chunks) == events


@pytest.mark.parametrize(("chunks", "events"), RULES.values(), ids=RULES.keys())
def test_rule_holds_byte_by_byte(chunks: list[bytes], events: list[SseEvent]) -> None:
    assert decode(*(bytes([byte]) for byte in b"".join(chunks))) == events


@pytest.mark.parametrize(
    ("field", "retry_ms"),
    [
        (b"retry: 1500", 1500),
        (b"retry: 0", 0),
        (b"retry: 1.5", None),
        (b"retry: -1", None),
        (b"retry: +1", None),
        (b"retry: 1 ", None),
        (b"retry:  1", None),
        (b"retry:", None),
        (b"retry", None),
        ("retry: \u0661".encode(), None),
    ],
)
def test_retry_takes_ascii_digits_only(field: bytes, retry_ms: int | None) -> None:
    decoder = SseDecoder()
    decoder.feed(field + b"\n\n")
    assert decoder.retry_ms == retry_ms


def test_the_last_valid_retry_counts() -> None:
    decoder = SseDecoder()
    decoder.feed(b"retry: 1\nretry: 2\nretry: x\n\n")
    assert decoder.retry_ms == 2


@pytest.mark.parametrize(
    ("read", "pending"),
    [
        (b"", False),
        (b"data: a\n\n", False),
        (b": comment\n\n", False),
        (b"data: a\n", True),
        (b"event: a\n", True),
        (b"da", True),
        (b"data: a\n\nd", True),
    ],
)
def test_pending_tells_of_a_part_of_an_event(read: bytes, *, pending: bool) -> None:
    decoder = SseDecoder()
    decoder.feed(read)
    assert decoder.pending is pending


# Refusals


@pytest.mark.parametrize(
    "stream", [b"data: \xff\n\n", b"data: \xe2\x82\n\n", b"event: \xff\ndata: a\n\n", b"id: \xff\ndata: a\n\n"]
)
def test_bytes_that_are_not_utf_8_are_refused(stream: bytes) -> None:
    """Replacement characters would change the model's text, or its JSON, without anybody noticing."""
    with pytest.raises(MalformedResponse, match="not UTF-8"):
        decode(stream)


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"data: " + b"x" * 95, id="a line without end"),
        pytest.param(b"data: " + b"x" * 95 + b"\n", id="a line"),
        pytest.param(b"data: 1234\n" * 10, id="many short lines"),
        pytest.param(b"data\n" * 21, id="many empty lines"),
        pytest.param(b"data: " + b"x" * 50 + b"\ndata: " + b"x" * 50, id="two lines, one without end"),
        pytest.param(b": " + b"x" * 99, id="a comment without end"),
        pytest.param(b": " + b"x" * 99 + b"\n", id="a comment"),
        pytest.param(b"id: " + b"x" * 99 + b"\n", id="an id"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_an_event_over_the_limit_is_refused(stream: bytes, piece_bytes: int) -> None:
    """The error names the limit; memory is bounded wherever the bytes are split and whether or not a line ends."""
    pieces = [stream[start : start + piece_bytes] for start in range(0, len(stream), piece_bytes)]
    with pytest.raises(MalformedResponse, match="limit of 100 bytes"):
        decode(*pieces, max_event_bytes=100)


def test_the_limit_is_of_one_event_not_of_the_stream() -> None:
    event = b"data: " + b"x" * 90 + b"\n\n"
    assert len(decode(event * 50, b": comment\n\n" * 50, max_event_bytes=100)) == 50


def test_events_before_an_error_are_given_and_then_the_error_for_good() -> None:
    """What the provider said before it broke is not lost because it came in the same chunk."""
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\n\ndata: \xff\n\ndata: b\n\n") == [SseEvent(b"a")]
    assert decoder.pending
    for _ in range(2):
        with pytest.raises(MalformedResponse):
            decoder.feed(b"data: c\n\n")


def test_a_long_line_in_small_pieces_takes_time_in_its_length() -> None:
    """8 MB in pieces of 16 bytes: joining and searching all that is held for each piece would touch 2 TB."""
    decoder = SseDecoder()
    decoder.feed(b"data: ")
    for _ in range(512 * 1024):
        decoder.feed(b"0123456789abcdef")
    (event,) = decoder.feed(b"\n\n")
    assert len(event.data) == 8 * 1024 * 1024


# Laws


def outcome(chunks: Sequence[bytes]) -> tuple[list[SseEvent], bool]:
    """The events, and whether it ended in an error."""
    decoder = SseDecoder(max_event_bytes=60)
    events: list[SseEvent] = []
    try:
        for chunk in chunks:
            events += decoder.feed(chunk)
        decoder.feed(b"")
    except MalformedResponse:
        return events, True
    return events, False


LINE_PIECES = (
    b"data",
    b":",
    b" ",
    b"event: e",
    b"id: 1",
    b"id: \0",
    b"retry: 1",
    b"x" * 30,
    "é".encode(),
    b"\xff",
    b"\0",
)
LINE_ENDS = (b"\n", b"\r", b"\r\n", b"\n\n")
pieces_of_streams = st.lists(st.sampled_from((*LINE_PIECES, *LINE_ENDS, BOM)), max_size=30)


@settings(max_examples=300, deadline=None)
@given(pieces_of_streams, st.data())
def test_where_the_bytes_are_split_makes_no_difference(pieces: list[bytes], data: st.DataObject) -> None:
    """Any split gives the events of the whole, and the same verdict: errors and limits too."""
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert outcome(chunks) == outcome([stream])
    assert outcome([bytes([byte]) for byte in stream]) == outcome([stream])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=10))
def test_any_bytes_give_events_or_malformed_response(chunks: list[bytes]) -> None:
    events, _ = outcome(chunks)
    for event in events:
        assert event.data.decode() is not None


one_line = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=50), one_line, one_line)
def test_what_is_encoded_is_decoded(text: str, kind: str, event_id: str) -> None:
    """Data, type and id come back; of line breaks in the data only the kind is lost, as the format has one."""
    data = text.encode()
    read = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert decode(encode_event(data, event=kind, id=event_id)) == [SseEvent(read, kind, event_id)]
    assert decode(encode_comment(kind), encode_event(data)) == [SseEvent(read)]


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "\r\n"])
def test_a_line_break_cannot_be_smuggled_into_a_field(text: str) -> None:
    """It would begin a field, or an event, of the sender's choosing."""
    with pytest.raises(ValueError, match="one line"):
        encode_event(b"", event=text)
    with pytest.raises(ValueError, match="one line"):
        encode_event(b"", id=text)
    with pytest.raises(ValueError, match="one line"):
        encode_comment(text)


def test_an_id_with_nul_is_refused_because_readers_would_ignore_it() -> None:
    with pytest.raises(ValueError, match="NUL"):
        encode_event(b"", id="a\0")


def test_an_event_that_is_too_large_is_not_held_any_longer() -> None:
    decoder = SseDecoder(max_event_bytes=100_000)
    with pytest.raises(MalformedResponse):
        decoder.feed(b"data: " + b"a" * 200_000)
    assert sum(sys.getsizeof(part) for part in gc.get_referents(decoder)) < 100_000
