"""The format's laws over generated values: what is encoded decodes to the same, or the difference is a listed loss."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from openai.types.chat import ChatCompletion
from tests.codecs.strategies import (
    Shape,
    any_parts,
    anything,
    events_of,
    function_tools,
    images,
    json_objects,
    names,
    requests,
    response_formats,
    responses,
    samplings,
    texts,
    tool_calls,
    tool_choices,
    unknown_parts,
    usages,
)

from waypost.chat import (
    FileId,
    Finish,
    FinishReason,
    Grammar,
    InlineData,
    Media,
    Message,
    Part,
    Reasoning,
    ReasoningWish,
    Refusal,
    Request,
    Response,
    Text,
    ToolCall,
    ToolResult,
    collect,
)
from waypost.codecs.openai_chat import OpenAIChatCodec, codec, compatible_codec
from waypost.codecs.openai_chat.wire import FINISH_REASONS
from waypost.codecs.sse import SseDecoder

LIMITS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WIRE = "openai_chat"


def _tuples(items: SearchStrategy[Any], least: int, most: int) -> SearchStrategy[Any]:
    return st.lists(items, min_size=least, max_size=most).map(tuple)


def _messages() -> SearchStrategy[Message]:
    """Messages that the official format carries whole."""
    text = st.builds(Text, texts())
    audio = st.builds(InlineData, st.binary(max_size=8), st.sampled_from(["audio/wav", "audio/mpeg", "audio/flac"]))
    inline = st.builds(InlineData, st.binary(max_size=8), st.just("application/pdf"))
    document = st.builds(Media, st.just("document"), inline | st.builds(FileId, names()), names())
    media = images() | st.builds(Media, st.just("audio"), audio) | document
    speaker = st.none() | names()
    prompts = st.builds(Message, st.sampled_from(["system", "developer"]), _tuples(text, 1, 2), speaker)
    users = st.builds(Message, st.just("user"), _tuples(text | media | unknown_parts(WIRE), 0, 3), speaker)
    answer = st.tuples(_tuples(text, 0, 2), _tuples(st.builds(Refusal, texts()), 0, 1), _tuples(tool_calls(True), 0, 2))
    assistants = st.builds(Message, st.just("assistant"), answer.map(lambda kinds: sum(kinds, ())), speaker)
    results = st.builds(ToolResult, names(), _tuples(text, 0, 2), speaker)
    tools = st.builds(Message, st.just("tool"), results.map(lambda result: (result,)))
    return prompts | users | assistants | tools


OFFICIAL_SHAPE = Shape(
    messages=_messages(),
    tools=function_tools() | unknown_parts(WIRE),
    tool_choices=tool_choices(),
    samplings=samplings(top_k=st.none()),
    reasonings=st.none() | st.builds(ReasoningWish, effort=st.sampled_from(["none", "minimal", "high"])),
    formats=response_formats(),
    options=st.just({}) | json_objects().map(lambda data: {"openai": {"x_mine": data, "store": None}}),
)


@LIMITS
@given(requests(OFFICIAL_SHAPE), st.booleans())
def test_a_request_the_format_carries_comes_back_equal(request: Request, stream: bool) -> None:
    encoded = codec.encode_request(request, stream=stream)
    decoded = codec.decode_request(encoded.body)
    assert encoded.losses == ()
    assert decoded.request == request
    assert decoded.stream == decoded.include_usage == stream


@pytest.mark.parametrize("dialect_codec", [codec, compatible_codec])
@LIMITS
@given(request=requests(anything()))
def test_what_a_request_keeps_it_keeps_for_good(dialect_codec: OpenAIChatCodec, request: Request) -> None:
    """Any request at all can be encoded; what comes out of the wire once is lossless and stable from then on."""
    encoded = dialect_codec.encode_request(request, stream=False)
    first = dialect_codec.decode_request(encoded.body).request if encoded.body.count(b'"messages":[]') == 0 else None
    if first is None:
        # Every part was lost, and said so, or there was none.
        assert encoded.losses or not any(message.parts for message in request.messages)
        return
    again = codec.encode_request(first, stream=False)
    if dialect_codec is codec:
        assert again.losses == ()
        assert codec.decode_request(again.body).request == first
    kept = {part.text for message in first.messages for part in message.parts if isinstance(part, Text)}
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, Text) and part.text:
                assert any(part.text in text for text in kept)


REASONS: list[tuple[FinishReason, str | None]] = [(reason, word) for word, reason in FINISH_REASONS.items()]
FINISHES = st.sampled_from([Finish(reason, word) for reason, word in REASONS] + [Finish("stop", "stop", "END")])


def _answers() -> SearchStrategy[tuple[Part, ...]]:
    kinds: list[SearchStrategy[Any]] = [
        _tuples(st.builds(Reasoning, texts()), 0, 1),
        _tuples(st.builds(Text, texts()), 0, 1),
        _tuples(st.builds(Refusal, texts()), 0, 1),
        _tuples(tool_calls(True), 0, 3),
    ]
    return st.tuples(*kinds).map(lambda found: sum(found, ()))


EXACT = responses(
    _answers(),
    FINISHES,
    usages(output_reasoning_tokens=st.none() | st.integers(0, 99), input_audio_tokens=st.none() | st.integers(0, 9)),
    most_choices=3,
)


@LIMITS
@given(EXACT)
def test_an_answer_the_format_carries_comes_back_equal(response: Response) -> None:
    encoded = codec.encode_response(response)
    assert encoded.losses == ()
    assert codec.decode_response(encoded.body) == response
    if not any(isinstance(part, ToolCall) for choice in response.choices for part in choice.parts):
        ChatCompletion.model_validate_json(encoded.body)


@LIMITS
@given(EXACT, st.integers(1, 5), st.integers(1, 40))
def test_a_stream_the_format_carries_comes_back_equal(response: Response, piece: int, size: int) -> None:
    """Encoded as a stream, cut anywhere and decoded, it collects to the answer it was made of."""
    encoder = codec.stream_encoder()
    wire = b"".join(encoder.encode(event) for event in events_of(response, piece)) + encoder.finish()
    assert encoder.losses == ()
    sse, decoder = SseDecoder(), codec.stream_decoder(choices=len(response.choices))
    events = [
        canonical
        for at in range(0, len(wire), size)
        for event in sse.feed(wire[at : at + size])
        for canonical in decoder.feed(event)
    ]
    assert decoder.finish() == ()
    assert collect(events) == response


ANY_ANSWERS = responses(_tuples(any_parts(), 0, 4), FINISHES | st.just(Finish("pause", "pause_turn")), most_choices=2)


@LIMITS
@given(ANY_ANSWERS)
def test_any_answer_is_encoded_and_what_is_gone_is_listed(response: Response) -> None:
    """Whole and as a stream alike: either it comes back equal but for the reason's own word, or a loss says why not."""
    encoded = codec.encode_response(response)
    whole = codec.decode_response(encoded.body)
    first = codec.encode_response(whole)
    assert first.losses == ()
    assert codec.decode_response(first.body) == whole
    encoder = codec.stream_encoder()
    wire = b"".join(encoder.encode(event) for event in events_of(response)) + encoder.finish()
    grammar, decoder = Grammar(), codec.stream_decoder(choices=len(response.choices))
    events = [canonical for event in SseDecoder().feed(wire) for canonical in decoder.feed(event)]
    for canonical in events:
        grammar.check(canonical)
    assert grammar.complete
    if not encoded.losses and not encoder.losses:
        texts_sent = [choice.text for choice in response.choices]
        assert [choice.text for choice in whole.choices] == texts_sent
        assert [choice.text for choice in collect(events).choices] == texts_sent
        counts = [len([part for part in choice.parts if _says_something(part)]) for choice in response.choices]
        assert [len(choice.parts) for choice in whole.choices] == counts


def _says_something(part: Part) -> bool:
    if isinstance(part, Text) and part.citations:
        return True
    return not isinstance(part, Text | Reasoning | Refusal) or bool(part.text)
