"""Whole answers of the Messages format: stop reasons, usage, what cannot be written, and bodies that are no answer."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from anthropic.types import Message as SdkMessage

from waypost.chat import (
    Choice,
    FinishReason,
    InlineData,
    Media,
    Part,
    Reasoning,
    Refusal,
    Response,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    Usage,
)
from waypost.codecs.anthropic_messages import codec
from waypost.codecs.anthropic_messages.response import STOP_REASONS
from waypost.errors import MalformedResponse, ProviderOverloaded, ProviderServerError


def answer(*parts: Part, **choice: Any) -> Response:
    fields = {"reason": "stop", **choice}
    return Response("msg_1", "claude-x", (Choice(0, parts, **fields),), Usage(input_tokens=1, output_tokens=1))


def encode(response: Response) -> tuple[dict[str, Any], list[str]]:
    written = codec.encode_response(response)
    SdkMessage.model_validate_json(written.body)
    return json.loads(written.body), [loss.what for loss in written.losses]


def wire(**changes: Any) -> bytes:
    body = {"id": "m", "type": "message", "model": "x", "content": [], "stop_reason": "end_turn", **changes}
    return json.dumps(body).encode()


@pytest.mark.parametrize("word", STOP_REASONS)
def test_each_of_anthropics_stop_reasons_comes_back_as_itself(word: str) -> None:
    choice = codec.decode_response(wire(stop_reason=word)).choices[0]
    assert (choice.reason, choice.raw_reason) == (STOP_REASONS[word], word)
    assert encode(answer(reason=choice.reason, raw_reason=word))[0]["stop_reason"] == word


@pytest.mark.parametrize("reason", get_args(FinishReason))
def test_each_canonical_reason_has_a_word_and_only_other_is_told_as_lost(reason: FinishReason) -> None:
    """The raw words of another format do not leak into this one."""
    body, losses = encode(answer(Text("x"), reason=reason, raw_reason="content_filter"))
    assert body["stop_reason"] in STOP_REASONS
    assert losses == (["choices[0].reason"] if reason == "other" else [])


def test_a_stop_sequence_that_was_hit_is_the_reason() -> None:
    body, _ = encode(answer(Text("x"), stop_sequence="END"))
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", "END")


def test_a_refusal_becomes_text_with_the_reason_refusal() -> None:
    body, losses = encode(answer(Refusal("I cannot.")))
    assert body["content"] == [{"type": "text", "text": "I cannot."}]
    assert body["stop_reason"] == "refusal"
    assert losses == ["choices[0].parts[0]"]


USAGES: list[tuple[dict[str, Any], Usage]] = [
    ({}, Usage()),
    ({"output_tokens": 3}, Usage(output_tokens=3)),
    ({"input_tokens": 5, "cache_read_input_tokens": None}, Usage(input_tokens=5)),
    (
        {"input_tokens": 5, "cache_creation_input_tokens": 7, "cache_read_input_tokens": 11},
        Usage(input_tokens=23, input_cache_read_tokens=11, input_cache_write_5m_tokens=7),
    ),
    (
        {"input_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2}},
        Usage(input_tokens=8, input_cache_write_5m_tokens=1, input_cache_write_1h_tokens=2),
    ),
    (
        {"output_tokens": 5, "output_tokens_details": {"thinking_tokens": 2}},
        Usage(output_tokens=5, output_reasoning_tokens=2),
    ),
    (
        {"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0}},
        Usage(server_tool_calls={"web_search": 2}),
    ),
    ({"service_tier": "standard", "speed": "standard"}, Usage(service_tier="standard")),
    ({"service_tier": "standard", "speed": "fast"}, Usage(service_tier="fast")),
    ({"speed": "fast"}, Usage(service_tier="fast")),
    ({"service_tier": "priority", "speed": "fast"}, Usage(service_tier="priority")),
]


@pytest.mark.parametrize(("reported", "expected"), USAGES)
def test_usage_reports_what_was_reported_and_nothing_else(reported: dict[str, Any], expected: Usage) -> None:
    assert codec.decode_response(wire(usage=reported)).usage == expected


def test_an_answer_without_usage_is_told_and_written_with_both_counts() -> None:
    """SDKs of this format fail on a usage object without them."""
    body, losses = encode(Response("m", "x", (Choice(0, (Text("a"),), "stop"),)))
    assert body["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert losses == ["usage.input_tokens", "usage.output_tokens"]


def test_what_an_answer_here_cannot_hold_is_told() -> None:
    response = Response(
        "m",
        "x",
        (
            Choice(
                0,
                (
                    Media("image", InlineData(b"x", "image/png")),
                    ToolResult("a", ()),
                    Unknown("openai_chat", {}),
                    ToolCall("a", "f", "{"),
                    Reasoning("hm"),
                ),
                "tool_calls",
                logprobs={"content": []},
            ),
            Choice(1, (), "stop"),
        ),
        Usage(input_tokens=1, output_tokens=1, input_audio_tokens=1, output_audio_tokens=1, service_tier="flex"),
        created=5,
        provider_fields={"openai": {"system_fingerprint": "x"}},
    )
    body, losses = encode(response)
    assert [block["type"] for block in body["content"]] == ["tool_use", "thinking"]
    assert set(losses) == {
        "choices",
        "choices[0].logprobs",
        "choices[0].parts[0]",
        "choices[0].parts[1]",
        "choices[0].parts[2]",
        "choices[0].parts[3].arguments",
        "created",
        "provider_fields[openai]",
        "usage.input_audio_tokens",
        "usage.output_audio_tokens",
        "usage.service_tier",
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        wire(content=None),
        wire(content="x"),
        wire(content=[1]),
        wire(content=[{"type": "text"}]),
        wire(content=[{"type": "tool_use", "id": "a", "name": "b", "input": 5}]),
        wire(type="completion"),
        wire(stop_reason=5),
        wire(id=5),
        wire(usage=[]),
        wire(usage={"input_tokens": "5"}),
        wire(usage={"server_tool_use": {"web_search_requests": "1"}}),
    ],
)
def test_a_body_that_is_no_answer_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedResponse):
        codec.decode_response(data)


@pytest.mark.parametrize("head", ['"type":"error",', ""])
def test_an_error_in_an_answers_place_is_that_error(head: str) -> None:
    """With status 200, as relays send it; some leave out the type."""
    with pytest.raises(ProviderOverloaded):
        codec.decode_response(f'{{{head}"error":{{"type":"overloaded_error","message":"Overloaded"}}}}'.encode())


def test_an_error_without_a_message_still_has_one() -> None:
    with pytest.raises(ProviderServerError, match="without a message"):
        codec.decode_response(b'{"type":"error"}')


def test_half_a_surrogate_pair_in_an_answer_becomes_the_replacement_character() -> None:
    """It was paid for; refusing the whole answer would help nobody."""
    body = wire(content=[{"type": "text", "text": "XX"}]).replace(b"XX", rb"ok \ud83d!")
    assert codec.decode_response(body).text == "ok \ufffd!"
