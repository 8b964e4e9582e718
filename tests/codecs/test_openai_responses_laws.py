"""The format's laws over generated values: what is encoded decodes to the same, or the difference is a listed loss."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from openai.types.responses import Response as SdkResponse
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from tests.codecs.strategies import (
    Shape,
    any_parts,
    anything,
    events_of,
    images,
    json_objects,
    names,
    requests,
    response_formats,
    responses,
    samplings,
    texts,
    tool_arguments,
    tool_choices,
    unknown_parts,
    usages,
)

from waypost.chat import (
    Event,
    FileId,
    Finish,
    FunctionTool,
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
    ServerTool,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    collect,
)
from waypost.codecs.openai_responses import OpenAIResponsesCodec, codec
from waypost.codecs.openai_responses.wire import INCOMPLETE_REASONS
from waypost.codecs.sse import SseDecoder

LIMITS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WIRE = "openai_responses"
SDK_EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def _tuples(items: SearchStrategy[Any], least: int, most: int) -> SearchStrategy[Any]:
    return st.lists(items, min_size=least, max_size=most).map(tuple)


def _own(**data: Any) -> dict[str, dict[str, Any]]:
    return {WIRE: data}


@st.composite
def _items(draw: st.DrawFn, most: int = 4) -> tuple[Part, ...]:
    """Parts as this format's own items give them: each item with an id of its own, its members with the last piece."""
    parts: list[Part] = []
    for number in range(draw(st.integers(0, most))):
        item_id = f"it_{number}"
        kind = draw(st.sampled_from(["message", "reasoning", "encrypted", "function", "custom", "tool"]))
        if kind == "message":
            pieces: list[Any] = draw(
                st.lists(st.builds(Text, texts()) | st.builds(Refusal, texts()), min_size=1, max_size=3)
            )
            parts += _pieces(pieces, item_id, {"status": "incomplete"})
        elif kind == "reasoning":
            pieces = draw(st.lists(st.builds(Reasoning, texts()), min_size=1, max_size=3))
            parts += _pieces(pieces, item_id, {"encrypted_content": "e"})
        elif kind == "encrypted":
            parts += _pieces([Reasoning("")], item_id, {"encrypted_content": draw(names())})
        elif kind == "function":
            parts.append(
                ToolCall(f"c{number}", draw(names()), draw(tool_arguments()), opaque=_own(id=item_id, status="x"))
            )
        elif kind == "custom":
            parts.append(ToolCall(f"c{number}", draw(names()), draw(texts(0)), "custom", _own(id=item_id, status="x")))
        else:
            parts.append(ServerTool(WIRE, {"type": "mcp_call", "id": item_id, **draw(json_objects())}))
    return tuple(parts)


def _pieces(pieces: list[Any], item_id: str, item: dict[str, Any]) -> list[Part]:
    last = len(pieces) - 1
    return [
        replace(piece, opaque=_own(id=item_id, item=item) if number == last else _own(id=item_id))
        for number, piece in enumerate(pieces)
    ]


def _messages() -> SearchStrategy[Message]:
    """Messages that the format carries whole."""
    text = st.builds(Text, texts())
    inline = st.builds(InlineData, st.binary(max_size=8), st.just("application/pdf"))
    media = images() | st.builds(Media, st.just("document"), inline | st.builds(FileId, names()), names())
    marks: SearchStrategy[dict[str, dict[str, Any]]] = st.just({}) | names().map(lambda item_id: _own(id=item_id))
    systems = st.builds(Message, st.just("system"), _tuples(text, 2, 3), st.none(), marks)
    developers = st.builds(Message, st.just("developer"), _tuples(text, 1, 2), st.none(), marks)
    users = st.builds(Message, st.just("user"), _tuples(text | media | unknown_parts(WIRE), 0, 3), st.none(), marks)
    free = st.builds(ToolCall, names(), names(), tool_arguments()) | text
    assistants = st.builds(Message, st.just("assistant"), _items().filter(bool) | _tuples(free, 1, 3))
    results = st.builds(ToolResult, names(), _tuples(text | media, 0, 2), opaque=marks)
    tools = st.builds(Message, st.just("tool"), results.map(lambda result: (result,)))
    return systems | developers | users | assistants | tools


OWN_SHAPE = Shape(
    messages=_messages(),
    tools=st.builds(FunctionTool, names(), st.none() | texts(), st.none() | json_objects(), st.booleans())
    | unknown_parts(WIRE),
    tool_choices=tool_choices(),
    samplings=samplings(
        max_tokens=st.none() | st.integers(16, 10**6),
        top_k=st.none(),
        stop_sequences=st.just(()),
        seed=st.none(),
        presence_penalty=st.none(),
        frequency_penalty=st.none(),
        choices=st.none(),
    ),
    reasonings=st.none() | st.builds(ReasoningWish, effort=st.sampled_from(["none", "minimal", "high"])),
    formats=response_formats(),
    options=st.just({}) | json_objects().map(lambda data: {"openai": {"metadata": data}, WIRE: {"x_mine": None}}),
)


def _joined(request: Request) -> Request:
    """The request with its neighbouring assistant messages as one, as a list of items reads."""
    messages: list[Message] = []
    for role, run in groupby(request.messages, lambda message: message.role):
        turn = list(run)
        together = Message("assistant", tuple(part for message in turn for part in message.parts))
        messages += [together] if role == "assistant" else turn
    return replace(request, messages=tuple(messages))


@LIMITS
@given(requests(OWN_SHAPE), st.booleans())
def test_a_request_the_format_carries_comes_back_equal(request: Request, stream: bool) -> None:
    encoded = codec.encode_request(request, stream=stream)
    decoded = codec.decode_request(encoded.body)
    assert encoded.losses == ()
    assert decoded.request == _joined(request)
    assert decoded.stream == stream


@LIMITS
@example(request=Request("a", (Message("assistant", (Text(""),)),)))
@example(request=Request("a", (Message("assistant", (Reasoning(""),)),)))
@given(request=requests(anything()))
def test_what_a_request_keeps_it_keeps_for_good(request: Request) -> None:
    """Any request at all can be encoded; what comes out of the wire once is lossless and stable from then on."""
    encoded = codec.encode_request(request, stream=False)
    if b'"input":[]' in encoded.body:
        # Every part was lost, and said so, or there was none.
        assert encoded.losses or not any(message.parts for message in request.messages)
        return
    first = codec.decode_request(encoded.body).request
    again = codec.encode_request(first, stream=False)
    assert again.losses == ()
    assert codec.decode_request(again.body).request == first
    kept = [part.text for message in first.messages for part in message.parts if isinstance(part, Text)]
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, Text) and part.text:
                assert part.text in kept


COUNTS = st.integers(0, 99)
USAGES = usages(input_cache_read_tokens=COUNTS, input_cache_write_5m_tokens=COUNTS, output_reasoning_tokens=COUNTS)
FINISHES = st.sampled_from(
    [Finish("stop", "completed"), *(Finish(reason, word) for word, reason in INCOMPLETE_REASONS.items())]
)
EXACT = responses(_items(), FINISHES, USAGES)


def _called(response: Response) -> Response:
    """A completed answer with calls ends for them."""
    choice = response.choices[0]
    calls = any(isinstance(part, ToolCall) for part in choice.parts)
    reason = "tool_calls" if calls and choice.raw_reason == "completed" else choice.reason
    return replace(response, choices=(replace(choice, reason=reason),))


@LIMITS
@given(EXACT.map(_called))
def test_an_answer_the_format_carries_comes_back_equal(response: Response) -> None:
    encoded = codec.encode_response(response)
    assert encoded.losses == ()
    assert codec.decode_response(encoded.body) == response


def _stream(events: list[Event]) -> tuple[bytes, tuple[Any, ...]]:
    encoder = OpenAIResponsesCodec(clock=lambda: 1000.7).stream_encoder()
    return b"".join(encoder.encode(event) for event in events) + encoder.finish(), encoder.losses


@LIMITS
@given(EXACT.map(_called), st.integers(1, 5), st.integers(1, 40))
def test_a_stream_the_format_carries_comes_back_equal(response: Response, piece: int, size: int) -> None:
    """Encoded as a stream, cut anywhere and decoded, it collects to the answer it was made of."""
    wire, losses = _stream(list(events_of(response, piece)))
    assert losses == ()
    sse, decoder = SseDecoder(), codec.stream_decoder()
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
    """Whole and as a stream alike the SDK reads it; either it comes back with all its parts, or a loss says why not."""
    encoded = codec.encode_response(response)
    SdkResponse.model_validate_json(encoded.body)
    whole = codec.decode_response(encoded.body)
    first = codec.encode_response(whole)
    assert first.losses == ()
    assert codec.decode_response(first.body) == whole
    wire, losses = _stream(list(events_of(response)))
    grammar, decoder = Grammar(), codec.stream_decoder()
    events: list[Event] = []
    for event in SseDecoder().feed(wire):
        SDK_EVENTS.validate_json(event.data)
        events += decoder.feed(event)
    for canonical in events:
        grammar.check(canonical)
    assert grammar.complete
    streamed = collect(events)
    assert replace(streamed, created=whole.created) == whole
    if not {loss.what for loss in (*encoded.losses, *losses)} - MADE_UP:
        assert [_bare(part) for part in whole.choices[0].parts] == [
            _bare(part) for part in response.choices[0].parts if not isinstance(part, Text | Refusal) or part.text
        ]


MADE_UP = {"usage.output_reasoning_tokens", "usage.input_cache_write_5m_tokens", "usage.input_cache_read_tokens"}
"""Counts that the format requires: what was not reported is written as 0, and listed."""


def _bare(part: Part) -> Part:
    """Without opaque data: an answer of another format gets ids. A function without arguments is an empty object."""
    if isinstance(part, Unknown):
        return part
    if isinstance(part, ToolCall) and part.kind == "function" and not part.arguments:
        part = replace(part, arguments="{}")
    return replace(part, opaque={})
