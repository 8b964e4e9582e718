"""Counting a prompt's tokens: three vendors' endpoints both ways, and the estimate for those that have none."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from anthropic.types import MessageTokensCount
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import InputTokenCountResponse
from openai.types.responses.input_token_count_params import InputTokenCountParams
from tests.codecs.strategies import anything, json_values, names, requests, texts

from waypost.chat import FunctionTool, InlineData, Media, Message, Request, ResponseFormat, Sampling, Text, ToolChoice
from waypost.codecs import anthropic_messages, gemini, openai_responses
from waypost.codecs.anthropic_messages.count import COUNTED as ANTHROPIC_COUNTED
from waypost.codecs.anthropic_messages.count import count_codec as anthropic
from waypost.codecs.codec import Codec, CountCodec
from waypost.codecs.estimate import WEIGHTS, estimate_input_tokens, estimate_text_tokens
from waypost.codecs.gemini.count import count_codec as google
from waypost.codecs.openai_responses.count import COUNTED as OPENAI_COUNTED
from waypost.codecs.openai_responses.count import count_codec as openai
from waypost.errors import InvalidRequest, MalformedResponse, ProviderRateLimited

ALL: dict[str, CountCodec] = {codec.name: codec for codec in (anthropic, google, openai)}
every = pytest.mark.parametrize("codec", ALL.values(), ids=ALL.keys())
GENERATING: dict[str, Codec] = {
    anthropic.name: anthropic_messages.codec,
    google.name: gemini.codec,
    openai.name: openai_responses.codec,
}
EXAMPLES = settings(max_examples=50, deadline=None)
HELLO = Request("m", (Message("system", (Text("Be brief."),)), Message("user", (Text("Hello"),))))
TOOLS = replace(
    HELLO,
    tools=(FunctionTool("look", "Looks.", {"type": "object", "properties": {"x": {"type": "string"}}}),),
    tool_choice=ToolChoice("required"),
)


@every
@pytest.mark.parametrize("request_", [HELLO, TOOLS], ids=["text", "tools"])
def test_a_prompt_goes_through_an_endpoint_whole(codec: CountCodec, request_: Request) -> None:
    encoded = codec.encode_request(request_)
    assert encoded.losses == ()
    again = codec.decode_request(encoded.body)
    assert (again.model, again.messages, again.tool_choice) == (request_.model, request_.messages, request_.tool_choice)
    assert [tool.name for tool in again.tools if isinstance(tool, FunctionTool)] == ["look"] * len(request_.tools)


@every
def test_settings_of_generation_are_neither_sent_nor_lost(codec: CountCodec) -> None:
    """Endpoints refuse members that they do not count."""
    sampling = Sampling(max_tokens=5, temperature=1.5, seed=3, choices=2, stop_sequences=("a",))
    encoded = codec.encode_request(replace(HELLO, sampling=sampling, end_user_id="u"))
    assert encoded.losses == ()
    assert encoded.body == codec.encode_request(HELLO).body


@every
@EXAMPLES
@given(request=requests(anything()))
def test_any_prompt_becomes_a_body_of_known_members_that_is_read_again(codec: CountCodec, request: Request) -> None:
    request = replace(request, messages=(Message("user", (Text("Hello"),)), *request.messages))
    body = codec.encode_request(request).body
    known = {anthropic.name: ANTHROPIC_COUNTED, openai.name: OPENAI_COUNTED, google.name: {"generateContentRequest"}}
    assert json.loads(body).keys() <= known[codec.name]
    plain = codec.encode_request(replace(request, provider_options={})).body
    assert any("Hello" in message.text for message in codec.decode_request(plain).messages)


def test_members_are_those_of_the_sdks() -> None:
    """A member that OpenAI or Anthropic added is noticed here; betas of Anthropic's come beside them."""
    betas = {"compaction", "context_management", "mcp_servers"}
    headers = {"user_profile_id", "workspace_id"}
    assert ANTHROPIC_COUNTED - betas == MessageCountTokensParams.__annotations__.keys() - headers
    assert InputTokenCountParams.__annotations__.keys() == OPENAI_COUNTED


def test_gemini_takes_contents_alone_too() -> None:
    contents = [{"role": "user", "parts": [{"text": "Hello"}]}]
    alone = google.decode_request(json.dumps({"contents": contents}).encode())
    assert alone == Request("", (Message("user", (Text("Hello"),)),))
    whole = {"generate_content_request": {"model": "models/g", "contents": contents}}
    assert google.decode_request(json.dumps(whole).encode()) == replace(alone, model="g")


@every
@given(tokens=st.integers(0, 2**40))
def test_a_count_goes_both_ways(codec: CountCodec, tokens: int) -> None:
    assert codec.decode_response(codec.encode_response(tokens)) == tokens


def test_a_count_is_what_the_sdks_read() -> None:
    assert MessageTokensCount.model_validate_json(anthropic.encode_response(7)).input_tokens == 7
    assert InputTokenCountResponse.model_validate_json(openai.encode_response(7)).input_tokens == 7
    assert json.loads(google.encode_response(7)) == {"totalTokens": 7}


@every
def test_an_error_in_place_of_a_count_is_that_error(codec: CountCodec) -> None:
    bodies: dict[str, Any] = {
        anthropic.name: {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}},
        google.name: {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Slow down"}},
        openai.name: {"error": {"code": "rate_limit_exceeded", "message": "Slow down"}},
    }
    with pytest.raises(ProviderRateLimited):
        codec.decode_response(json.dumps(bodies[codec.name]).encode())


@every
@EXAMPLES
@given(value=st.binary(max_size=40) | json_values().map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_value_or_a_typed_error(codec: CountCodec, value: bytes) -> None:
    with suppress(MalformedResponse):
        codec.decode_response(value)
    with pytest.raises(InvalidRequest):
        codec.decode_request(value)


@every
def test_the_count_of_a_request_is_that_of_the_one_that_generates(codec: CountCodec) -> None:
    """Each member of the counted body stands as it is in the body that would be sent to generate."""
    counted = json.loads(codec.encode_request(TOOLS).body)
    if codec is google:
        counted = counted["generateContentRequest"]
        assert counted.pop("model") == "models/m"
    sent = json.loads(GENERATING[codec.name].encode_request(TOOLS, stream=False).body)
    assert {name: sent[name] for name in counted} == counted


PROSE = "The quick brown fox jumps over the lazy dog, and then it sleeps for a while in the warm afternoon sun. " * 20
CODE = (
    "def add(first: int, second: int) -> int:\n    if first > 0:\n        return first + second\n    return 0\n\n" * 20
)
CHINESE = "今天天气很好。我们去公园散步吧。" * 20
RUSSIAN = "Добрый день. Как ваши дела? " * 20


@pytest.mark.parametrize(
    ("text", "characters_a_token"),
    [(PROSE, (4.0, 5.2)), (CODE, (3.0, 4.6)), (CHINESE, (1.0, 1.7)), (RUSSIAN, (2.0, 4.0))],
    ids=["prose", "code", "Chinese", "Russian"],
)
def test_an_estimate_is_near_what_vocabularies_give(text: str, characters_a_token: tuple[float, float]) -> None:
    """Characters a token, as published for each: English about 4.5, code 3 to 4.5, Chinese 1 to 1.7, Russian 2 to 4."""
    least, most = characters_a_token
    assert least <= len(text) / estimate_text_tokens(text) <= most


def test_every_character_is_weighed_once() -> None:
    """By its first byte; bytes that only go on with a character are in no kind."""
    weighed = b"".join(first for _, first, _ in WEIGHTS)
    assert sorted(weighed) == [*range(0x80), *range(0xC2, 0xF5)]


@EXAMPLES
@given(texts(), texts())
def test_more_text_is_never_fewer_tokens(first: str, second: str) -> None:
    assert estimate_text_tokens(first + second) >= max(estimate_text_tokens(first), estimate_text_tokens(second)) >= 1


@EXAMPLES
@given(requests(anything()), names())
def test_whatever_is_added_to_a_prompt_adds_to_its_estimate(request: Request, text: str) -> None:
    """Nothing of a prompt is free: turns, tools, media, schemas."""
    tokens = estimate_input_tokens(request)
    longer = replace(request, messages=(*request.messages, Message("user", (Text(text),))))
    assert estimate_input_tokens(longer) > tokens
    image = Media("image", InlineData(b"", "image/png"))
    assert estimate_input_tokens(replace(longer, messages=(*longer.messages, Message("user", (image,))))) > tokens + 500
    assert estimate_input_tokens(replace(request, tools=(*request.tools, FunctionTool(text)))) > tokens
    shape = ResponseFormat("json_schema", {"type": "object", "title": text}, text)
    assert estimate_input_tokens(replace(request, response_format=shape)) >= estimate_input_tokens(
        replace(request, response_format=None)
    )
