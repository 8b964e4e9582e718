"""providers/http_stream.py: bytes passed on are the provider's, each event seen, however they are split."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.chat import Finish, PartDelta
from waypost.codecs.openai_chat import codec
from waypost.errors import IncompleteStream, MalformedResponse, ProviderError
from waypost.providers.http_stream import PassedStream, StreamFacts
from waypost.transport import Reply

TEXTS = st.text(min_size=1, max_size=6)


class Bytes:
    """A reply whose chunks are given, each while somebody waits for it."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = [chunk for chunk in chunks if chunk]
        self._taker: Callable[[bytes], bytes] = lambda chunk: chunk

    @property
    def has_come(self) -> bool:
        return not self._chunks

    def offer_to(self, taker: Callable[[bytes], bytes]) -> None:
        self._taker = taker

    async def next_chunk(self) -> bytes:
        while self._chunks:
            if rest := self._taker(self._chunks.pop(0)):
                return rest
        return b""


def passing(chunks: Sequence[bytes], *, usage: bool = True) -> PassedStream:
    about = StreamFacts({}, (), lambda _: None)
    return PassedStream(cast("Reply", Bytes(chunks)), about, codec, codec.stream_watch(), usage=usage)


def event(delta: dict[str, Any], reason: str | None = None, *, ascii_only: bool = True) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], "usage": None}
    return b"data: " + json.dumps(chunk, ensure_ascii=ascii_only, separators=(",", ":")).encode() + b"\n\n"


USAGE = b'data: {"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
DONE = b"data: [DONE]\n\n"


def stream_of(texts: Sequence[str], *, ascii_only: bool) -> bytes:
    content = b"".join(event({"content": text}, ascii_only=ascii_only) for text in texts)
    return event({"role": "assistant", "content": ""}) + content + event({}, "stop") + USAGE + DONE


def split(whole: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = sorted({cut % (len(whole) + 1) for cut in cuts})
    return [whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True)]


async def read(stream: PassedStream) -> tuple[bytes, list[Any], ProviderError | None]:
    raw = b""
    events: list[Any] = []
    try:
        async for batch in stream:
            raw += batch.raw or b""
            events += batch.events
    except ProviderError as error:
        return raw, events, error
    return raw, events, None


@given(texts=st.lists(TEXTS, max_size=8), cuts=st.lists(st.integers(0, 10_000), max_size=6), ascii_only=st.booleans())
async def test_every_byte_is_passed_on_and_every_text_is_seen(
    texts: list[str], cuts: list[int], ascii_only: bool
) -> None:
    """Also where many events that are alike come in one piece, and where a piece ends within a character."""
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    whole = stream_of(texts, ascii_only=ascii_only)
    stream = passing(split(whole, cuts))
    raw, events, error = await read(stream)
    assert error is None
    assert raw == whole
    assert "".join(event.text for event in events if isinstance(event, PartDelta)) == "".join(texts)
    assert isinstance(events[-1], Finish)
    assert (stream.usage.input_tokens, stream.usage.output_tokens, stream.model) == (3, 4, "m")


async def read_beside(stream: PassedStream, answers: Iterator[bool]) -> tuple[bytes, bytes, ProviderError | None]:
    """All that the caller gets, and what of it was in no batch. `answers`: can it be sent on at once?"""
    got, at_once = bytearray(), bytearray()

    def send(raw: bytes) -> bool:
        sent = next(answers)
        if sent:
            got.extend(raw)
            at_once.extend(raw)
        return sent

    stream.pass_on_by(send)
    try:
        async for batch in stream:
            got.extend(batch.raw or b"")
    except ProviderError as error:
        return bytes(got), bytes(at_once), error
    return bytes(got), bytes(at_once), None


@given(
    texts=st.lists(TEXTS, max_size=8),
    cuts=st.lists(st.integers(0, 10_000), max_size=6),
    ascii_only=st.booleans(),
    answers=st.lists(st.booleans(), min_size=1, max_size=4),
)
async def test_what_is_sent_on_at_once_is_in_its_place(
    texts: list[str], cuts: list[int], ascii_only: bool, answers: list[bool]
) -> None:
    """However the bytes are split, and whenever the caller cannot take them: every byte once, and in order."""
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    whole = stream_of(texts, ascii_only=ascii_only)
    stream = passing(split(whole, cuts))
    got, _, error = await read_beside(stream, cycle(answers))
    assert error is None
    assert got == whole
    assert (stream.usage.input_tokens, stream.usage.output_tokens, stream.model) == (3, 4, "m")


async def test_of_events_one_by_one_only_those_that_say_more_than_text_are_batches() -> None:
    texts = [event({"content": f"t{number}"}) for number in range(5)]
    pieces = [event({"role": "assistant", "content": ""}), *texts, event({}, "stop"), USAGE, DONE]
    got, at_once, _ = await read_beside(passing(pieces), cycle([True]))
    assert got == b"".join(pieces)
    # The first text is what the others are compared with.
    assert at_once == b"".join(texts[1:])


async def test_tokens_are_told_of_what_was_sent_on_at_once_too() -> None:
    texts = [event({"content": "four words of text "}) for _ in range(50)]
    counts = []
    for answer in (True, False):
        stream = passing([event({"role": "assistant", "content": ""}), *texts])
        await read_beside(stream, cycle([answer]))
        counts.append(stream.said_tokens())
    assert counts[0] == counts[1] > 100


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize(
    "damaged",
    [
        b'{"content": "a"',
        b'{"content": "a\x01b"}',
        b'{"content": "a\\q"}',
        b'{"content": "a\\"}',
        b'{"content": "\xff"}',
    ],
)
async def test_a_damaged_event_among_many_alike_breaks_the_stream_after_those_before_it(
    damaged: bytes, joined: bool, at: int
) -> None:
    good = [event({"content": f"t{number}"}) for number in range(6)]
    bad = event({"content": "a"}).replace(b'{"content":"a"}', damaged)
    pieces = [event({"role": "assistant", "content": ""}), *good[:at], bad, *good[at:], event({}, "stop"), DONE]
    raw, _, error = await read(passing([b"".join(pieces)] if joined else pieces))
    assert isinstance(error, MalformedResponse)
    assert raw == b"".join(pieces[: at + 1])
    got, _, error = await read_beside(passing([b"".join(pieces)] if joined else pieces), cycle([True]))
    assert isinstance(error, MalformedResponse)
    assert got == raw


async def test_an_event_of_another_kind_among_many_alike_is_seen() -> None:
    alike = b"".join(event({"content": f"t{number}"}) for number in range(5))
    whole = event({"role": "assistant", "content": ""}) + alike + event({}, "length") + DONE
    assert (await read(passing([whole])))[2] is None
    cut = event({"role": "assistant", "content": ""}) + alike
    assert isinstance((await read(passing([cut])))[2], IncompleteStream)


async def test_usage_that_the_caller_did_not_ask_for_is_taken_out_again() -> None:
    whole = stream_of(['a ,"usage":null b'], ascii_only=True)
    stream = passing([whole], usage=False)
    raw, _, _ = await read(stream)
    assert b"prompt_tokens" not in raw
    assert b'"finish_reason":null,"usage":null' not in raw
    assert json.loads(raw.split(b"\n\n")[1].removeprefix(b"data: "))["choices"][0]["delta"]["content"] == (
        'a ,"usage":null b'
    )
    assert stream.usage.output_tokens == 4
    again, _, _ = await read_beside(passing(split(whole, range(0, len(whole), 50)), usage=False), cycle([True]))
    assert again == raw
