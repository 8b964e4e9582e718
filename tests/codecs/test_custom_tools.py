"""Tools that are called with plain text, to providers that know functions only, and back to the caller."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codecs.strategies import events_of, texts

from waypost.chat import (
    Choice,
    CustomTool,
    FunctionTool,
    Message,
    PartDelta,
    PartEnd,
    PartStart,
    Request,
    Response,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    collect,
)
from waypost.codecs import anthropic_messages, gemini, openai_chat, openai_responses
from waypost.codecs.codec import Codec
from waypost.codecs.custom_tools import PARAMETERS, custom_calls
from waypost.codecs.sse import SseDecoder

GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
TOOL = CustomTool("run", "Runs Python", GRAMMAR)
HELLO = Message("user", (Text("Add one and one"),))
KNOWING: list[Codec] = [openai_chat.codec, openai_responses.codec]
FUNCTIONS_ONLY: list[Codec] = [anthropic_messages.codec, gemini.codec, openai_chat.compatible_codec]
by_caller = pytest.mark.parametrize("caller", KNOWING, ids=lambda codec: codec.name)
by_provider = pytest.mark.parametrize("provider", FUNCTIONS_ONLY, ids=["anthropic", "gemini", "compatible"])


def request(*messages: Message, choice: ToolChoice | None = None) -> Request:
    return Request("m", (HELLO, *messages), (TOOL, FunctionTool("other")), choice)


def restored(asked: Request, response: Response) -> Response:
    turned = custom_calls(asked)
    assert turned is not None
    return turned.response(response)


@by_caller
def test_a_format_that_knows_them_carries_them_whole(caller: Codec) -> None:
    """Declared with a grammar, chosen, called and answered: all of it comes back, and nothing is lost."""
    called = Message("assistant", (ToolCall("c1", "run", "1 + 1\n", "custom"),))
    answered = Message("tool", (ToolResult("c1", (Text("2"),)),))
    asked = request(called, answered, choice=ToolChoice("tool", "run"))
    encoded = caller.encode_request(asked, stream=False)
    assert encoded.losses == ()
    again = caller.decode_request(encoded.body).request
    assert (again.tools[0], again.tool_choice, again.messages) == (TOOL, asked.tool_choice, asked.messages)


def test_each_format_writes_the_grammar_where_it_has_it() -> None:
    chat = json.loads(openai_chat.codec.encode_request(request(), stream=False).body)["tools"][0]
    inner = {"syntax": "lark", "definition": "start: /.+/"}
    assert chat["custom"]["format"] == {"type": "grammar", "grammar": inner}
    responses = json.loads(openai_responses.codec.encode_request(request(), stream=False).body)["tools"][0]
    assert responses["format"] == GRAMMAR


@by_provider
def test_a_provider_of_functions_is_given_one_and_the_caller_is_told(provider: Codec) -> None:
    encoded = provider.encode_request(request(), stream=False)
    declared = provider.decode_request(encoded.body).request.tools[0]
    assert isinstance(declared, FunctionTool)
    assert (declared.name, declared.description, declared.parameters) == ("run", "Runs Python", PARAMETERS)
    told = {loss.what.rpartition(".")[2] for loss in encoded.losses}
    assert {"kind", "format"} <= told


@by_caller
@by_provider
def test_a_loop_of_calls_goes_on_with_a_provider_of_functions(caller: Codec, provider: Codec) -> None:
    """The caller's declaration, the provider's call, the caller's result: each arrives in the other's own form."""
    first = caller.decode_request(caller.encode_request(request(), stream=False).body).request
    call = ToolCall("c1", "run", json.dumps({"input": "1 + 1\n"}))
    wire = provider.encode_response(Response("r", "m", (Choice(0, (call,), "tool_calls"),))).body
    answer = restored(first, provider.decode_response(wire))
    assert isinstance(got := answer.choices[0].parts[0], ToolCall)
    assert (got.kind, got.name, got.arguments) == ("custom", "run", "1 + 1\n")
    seen = caller.decode_response(caller.encode_response(answer).body).choices[0].parts[0]
    assert isinstance(seen, ToolCall)
    assert (seen.kind, seen.arguments) == ("custom", "1 + 1\n")
    turns = (Message("assistant", (seen,)), Message("tool", (ToolResult(seen.call_id, (Text("2"),)),)))
    second = caller.decode_request(caller.encode_request(request(*turns), stream=False).body).request
    sent = provider.decode_request(provider.encode_request(second, stream=False).body).request
    part = next(part for message in sent.messages for part in message.parts if isinstance(part, ToolCall))
    assert (part.kind, json.loads(part.arguments)) == ("function", {"input": "1 + 1\n"})
    result = next(part for message in sent.messages for part in message.parts if isinstance(part, ToolResult))
    assert result.call_id == part.call_id


@by_caller
@by_provider
def test_a_streamed_call_arrives_as_the_callers_kind_of_call(caller: Codec, provider: Codec) -> None:
    text = 'print("hi")\n'
    call = ToolCall("c1", "run", json.dumps({"input": text}))
    parts = (Text("So:"), call, ToolCall("c2", "other", '{"a":1}'))
    source = provider.stream_encoder()
    events = events_of(Response("r", "m", (Choice(0, parts, "tool_calls"),), created=1))
    wire = b"".join(source.encode(event) for event in events) + source.finish()
    decoder, target, turned = provider.stream_decoder(), caller.stream_encoder(), custom_calls(request())
    assert turned is not None
    written = b""
    for wire_event in SseDecoder().feed(wire):
        for event in decoder.feed(wire_event):
            written += b"".join(map(target.encode, turned.events(event)))
    for event in decoder.finish():
        written += b"".join(map(target.encode, turned.events(event)))
    written += target.finish()
    reader = caller.stream_decoder()
    read = [event for wire_event in SseDecoder().feed(written) for event in reader.feed(wire_event)]
    calls = [part for part in collect([*read, *reader.finish()]).choices[0].parts if isinstance(part, ToolCall)]
    assert [(each.name, each.kind) for each in calls] == [("run", "custom"), ("other", "function")]
    assert calls[0].arguments == text


@pytest.mark.parametrize("arguments", ["", "{", "[1]", '{"input": 5}', '{"input": "a", "more": 1}', '"a"'])
def test_arguments_of_another_form_are_the_text_as_it_is(arguments: str) -> None:
    """A model may write what no schema allows; nothing of it is thrown away."""
    response = Response("r", "m", (Choice(0, (ToolCall("c", "run", arguments),), "tool_calls"),))
    assert restored(request(), response).choices[0].parts == (ToolCall("c", "run", arguments, "custom"),)


@settings(max_examples=50, deadline=None)
@given(texts(0), st.integers(1, 5))
def test_a_stream_and_a_whole_answer_say_the_same(text: str, piece: int) -> None:
    call: Any = ToolCall("c", "run", json.dumps({"input": text}))
    response = Response("r", "m", (Choice(0, (Text("a"), call), "tool_calls"),), created=1)
    turned = custom_calls(request())
    assert turned is not None
    events = [each for event in events_of(response, piece) for each in turned.events(event)]
    assert collect(events) == restored(request(), response)


def test_a_request_without_custom_tools_needs_no_turning() -> None:
    assert custom_calls(Request("m", (HELLO,), (FunctionTool("run"),))) is None


def test_the_text_of_a_streamed_call_comes_at_its_end() -> None:
    turned = custom_calls(request())
    assert turned is not None
    assert list(turned.events(PartStart(0, ToolCall("c", "run", "")))) == [
        PartStart(0, ToolCall("c", "run", "", "custom"))
    ]
    assert list(turned.events(PartDelta(0, '{"input":"a'))) == []
    assert list(turned.events(PartDelta(0, 'b"}'))) == []
    assert list(turned.events(PartEnd(0))) == [PartDelta(0, "ab"), PartEnd(0)]
