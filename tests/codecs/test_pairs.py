"""Every ordered pair of wire formats, through the canonical values: what arrives is what was sent, or a listed loss."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.codecs.damage import CODECS, FIXTURES, streams
from tests.codecs.strategies import anything, names, requests, texts

from waypost.chat import (
    Choice,
    Event,
    FunctionTool,
    InlineData,
    Media,
    Message,
    Reasoning,
    Refusal,
    Request,
    Response,
    Sampling,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    collect,
)
from waypost.codecs.codec import Codec
from waypost.codecs.sse import SseDecoder

PAIRS = list(permutations(CODECS, 2))
by_pair = pytest.mark.parametrize(("first", "second"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
by_format = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SIGNED: dict[str, Reasoning] = {
    "anthropic_messages": Reasoning("Two at once.", {"anthropic": {"signature": "c2ln"}}),
    "gemini": Reasoning("Two at once.", {"google": {"thoughtSignature": "c2ln"}}),
    "openai_responses": Reasoning(
        "Two at once.", {"openai_responses": {"id": "rs_1", "item": {"encrypted_content": "c2ln"}}}
    ),
    "openai_chat": Reasoning("Two at once."),
}
"""Thinking as each format gives it back, with what only its own vendor reads."""


def call(number: int, city: str) -> ToolCall:
    return ToolCall(f"call_{number}", "get_weather", json.dumps({"city": city}))


def result(number: int, text: str) -> Message:
    return Message("tool", (ToolResult(f"call_{number}", (Text(text),)),))


def loop(thought: Reasoning) -> Request:
    """Three turns: two calls at once with thinking, one call after words, a last question."""
    return Request(
        "m",
        (
            Message("system", (Text("Be brief."),)),
            Message("user", (Text("Weather in Paris and Rome?"),)),
            Message("assistant", (thought, call(1, "Paris"), call(2, "Rome"))),
            result(1, "18 degrees"),
            result(2, "25 degrees"),
            Message("assistant", (Text("18 and 25 degrees."),)),
            Message("user", (Text("And in Oslo?"),)),
            Message("assistant", (Text("I'll look."), call(3, "Oslo"))),
            result(3, "9 degrees"),
        ),
        (FunctionTool("get_weather", "Tells it.", SCHEMA),),
        ToolChoice("auto"),
        Sampling(max_tokens=500, temperature=0.25, top_p=0.5),
    )


@dataclass(frozen=True, slots=True)
class Said:
    """What a conversation says, whatever the format: borders of turns, ids made up and thinking aside."""

    words: tuple[tuple[str, str], ...]
    calls: tuple[tuple[str, str, Any], ...]
    results: tuple[tuple[str, str], ...]


def said(request: Request) -> Said:
    parts = [(message.role, part) for message in request.messages for part in message.parts]
    return Said(
        tuple((role, part.text) for role, part in parts if isinstance(part, Text)),
        tuple((part.call_id, part.name, meaning(part.arguments)) for _, part in parts if isinstance(part, ToolCall)),
        tuple(
            (part.call_id, "".join(item.text for item in part.parts if isinstance(item, Text)))
            for _, part in parts
            if isinstance(part, ToolResult)
        ),
    )


def meaning(arguments: str) -> Any:
    """The value that the arguments stand for; the text itself if it is no JSON."""
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def through(codec: Codec, request: Request) -> tuple[Request, set[str]]:
    """The request as it is read after it was written, and what was lost."""
    encoded = codec.encode_request(request, stream=False)
    again = codec.decode_request(encoded.body).request
    return replace(again, model=request.model), {loss.what for loss in encoded.losses}


@by_pair
def test_a_tool_loop_of_three_turns_goes_there_and_back(first: str, second: str) -> None:
    """Words, parallel calls, results and settings arrive, and come back; thinking that does not is listed."""
    asked, lost = through(CODECS[first], loop(SIGNED[first]))
    assert {what for what in lost if "easoning" not in what and "parts" not in what} == set()
    arrived, lost = through(CODECS[second], asked)
    back, _ = through(CODECS[first], arrived)
    for reached in (asked, arrived, back):
        assert said(reached) == said(loop(SIGNED[first]))
        assert [tool.name for tool in reached.tools if isinstance(tool, FunctionTool)] == ["get_weather"]
        assert [tool.parameters for tool in reached.tools if isinstance(tool, FunctionTool)] == [SCHEMA]
        assert replace(reached.sampling, stop_sequences=()) == loop(SIGNED[first]).sampling
        assert reached.tool_choice is None or reached.tool_choice.mode == "auto"
    thoughts = [part for message in arrived.messages for part in message.parts if isinstance(part, Reasoning)]
    sent = [part for message in asked.messages for part in message.parts if isinstance(part, Reasoning)]
    if sent and [part.text for part in thoughts] != [part.text for part in sent]:
        assert any("easoning" in what or "messages[2].parts[0]" in what for what in lost)


@by_format
def test_signed_thinking_comes_back_to_its_own_format_as_it_was(codec: Codec) -> None:
    """Its vendor refuses a loop whose signature was changed; OpenAI's chat API takes no thinking back, and says so."""
    asked = loop(SIGNED[codec.name])
    again, lost = through(codec, asked)
    kept = [part for message in again.messages for part in message.parts if isinstance(part, Reasoning)]
    assert kept == ([] if codec.name == "openai_chat" else [SIGNED[codec.name]])
    assert lost == ({"Reasoning"} if codec.name == "openai_chat" else set())


@by_pair
def test_another_vendors_signature_is_never_sent(first: str, second: str) -> None:
    """It would be refused as forged: it is left out, and listed."""
    if first == "openai_chat":
        return
    encoded = CODECS[second].encode_request(loop(SIGNED[first]), stream=False)
    assert b"c2ln" not in encoded.body
    assert encoded.losses


@by_pair
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(request=requests(anything()), words=texts().filter(lambda text: text.strip() != ""))
def test_what_a_pair_of_formats_keeps_it_keeps_for_good(first: str, second: str, request: Request, words: str) -> None:
    """Any request, once through both: from then on each way says the same, and the user's words are among it."""
    request = replace(
        request, messages=(*request.messages, Message("user", (Text(words),))), sampling=Sampling(), provider_options={}
    )
    once, _ = through(CODECS[first], request)
    there, lost = through(CODECS[second], once)
    again, lost_again = through(CODECS[second], there)
    assert any(words in message.text for message in there.messages if message.role == "user")
    assert said(again) == said(there)
    assert set(map(without_places, lost_again)) <= set(map(without_places, lost)), "nothing new is lost"


def without_places(what: str) -> str:
    return re.sub(r"\[\d+\]", "", what)


QUESTION = (Message("user", (Text("?"),)),)
ONE_TOOL = (FunctionTool("f", None, SCHEMA),)
FEATURES: dict[str, Request] = {
    "image": Request("m", (Message("user", (Media("image", InlineData(b"\x89PNG", "image/png")), Text("?"))),)),
    "top_k": Request("m", QUESTION, sampling=Sampling(top_k=5)),
    "stop": Request("m", QUESTION, sampling=Sampling(stop_sequences=("a", "b"))),
    "seed": Request("m", QUESTION, sampling=Sampling(seed=7)),
    "required": Request("m", QUESTION, ONE_TOOL, ToolChoice("required")),
    "named": Request("m", QUESTION, ONE_TOOL, ToolChoice("tool", "f")),
}


@pytest.mark.parametrize(("pair", "feature"), list(product(PAIRS, FEATURES)), ids=str)
def test_a_feature_arrives_or_is_listed(pair: tuple[str, str], feature: str) -> None:
    asked, lost_first = through(CODECS[pair[0]], FEATURES[feature])
    arrived, lost = through(CODECS[pair[1]], asked)
    wanted = FEATURES[feature]
    same = [
        arrived.sampling.top_k == wanted.sampling.top_k,
        arrived.sampling.seed == wanted.sampling.seed,
        arrived.sampling.stop_sequences == wanted.sampling.stop_sequences,
        (arrived.tool_choice or ToolChoice()).mode == (wanted.tool_choice or ToolChoice()).mode,
        [part.source for part in arrived.messages[0].parts if isinstance(part, Media)]
        == [part.source for part in wanted.messages[0].parts if isinstance(part, Media)],
    ]
    assert all(same) or lost or lost_first


STREAMS = [(first, case, second) for first, second in PAIRS for case in streams(first) if "error" not in case]


@pytest.mark.parametrize(("first", "case", "second"), STREAMS)
def test_a_stream_of_one_format_says_in_another_what_it_said(first: str, case: str, second: str) -> None:
    """Text, calls, whether it was cut, and the totals; a refusal may come as text, as what is lost says."""
    decoder = CODECS[first].stream_decoder()
    events: list[Event] = [each for event in streams(first)[case] for each in decoder.feed(event)]
    source = collect([*events, *decoder.finish()])
    if len(source.choices) > 1:
        return
    target, written = CODECS[second].stream_encoder(), b""
    decoder = CODECS[first].stream_decoder()
    for event in [*(each for wire in streams(first)[case] for each in decoder.feed(wire)), *decoder.finish()]:
        written += target.encode(event)
    written += target.finish()
    reader = CODECS[second].stream_decoder()
    read = [each for event in SseDecoder().feed(written) for each in reader.feed(event)]
    arrived = collect([*read, *reader.finish()])
    assert arrived.choices[0].text.startswith(source.choices[0].text)
    assert calls_of(arrived.choices[0]) == calls_of(source.choices[0])
    assert arrived.usage.input_tokens in (source.usage.input_tokens, 0, None)
    assert arrived.usage.output_tokens in (source.usage.output_tokens, 0, None)
    if source.choices[0].reason in ("length", "content_filter", "tool_calls"):
        assert arrived.choices[0].reason == source.choices[0].reason or target.losses


def calls_of(choice: Choice) -> list[tuple[str, Any]]:
    """Names and arguments; a custom call is a function's where there are only those."""
    found = []
    for part in choice.parts:
        if isinstance(part, ToolCall):
            custom = part.kind == "custom"
            found.append((part.name, {"input": part.arguments} if custom else meaning(part.arguments)))
    return found


REPLIES = [
    (first, path.name, second)
    for first, second in PAIRS
    for path in sorted((FIXTURES / first).glob("*.json"))
    if not path.name.endswith((".request.json", ".error.json"))
]


@pytest.mark.parametrize(("first", "case", "second"), REPLIES)
def test_an_answer_of_one_format_says_in_another_what_it_said(first: str, case: str, second: str) -> None:
    source = CODECS[first].decode_response(Path(FIXTURES / first / case).read_bytes())
    encoded = CODECS[second].encode_response(source)
    arrived = CODECS[second].decode_response(encoded.body)
    assert arrived.text.startswith(source.text)
    assert calls_of(arrived.choices[0]) == calls_of(source.choices[0])
    lost = {loss.what for loss in encoded.losses}
    if len(arrived.choices) < len(source.choices):
        assert "choices" in lost
    refused = any(isinstance(part, Refusal) for part in source.choices[0].parts)
    same = arrived.choices[0].reason == source.choices[0].reason
    assert same or refused or any("reason" in what for what in lost)
    for name in ("input_tokens", "input_cache_read_tokens", "output_tokens", "output_reasoning_tokens"):
        counts = getattr(arrived.usage, name), getattr(source.usage, name)
        assert counts[0] == counts[1] or f"usage.{name}" in lost or (counts[1] is None and not counts[0])


@by_pair
@settings(max_examples=15, deadline=None)
@given(answer=texts().filter(lambda text: text.strip() != ""), model=names())
def test_a_plain_answer_is_the_same_in_every_format(first: str, second: str, answer: str, model: str) -> None:
    response = Response("r", model, (Choice(0, (Text(answer),), "stop"),))
    once = CODECS[first].decode_response(CODECS[first].encode_response(response).body)
    there = CODECS[second].decode_response(CODECS[second].encode_response(once).body)
    assert (there.text, there.model, there.choices[0].reason) == (answer, model, "stop")
