"""catalogue/needs.py: what a request needs, and how long its prompt is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.catalogue.requests import ANSWER, PLAIN, QUESTION, SHOWING, TOOL

from waypost.catalogue import Need, Size, needs_of, size_of
from waypost.chat import (
    InlineData,
    Media,
    Message,
    ReasoningWish,
    Request,
    ResponseFormat,
    Sampling,
    ServerTool,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
)
from waypost.codecs.anthropic_messages import codec as anthropic
from waypost.codecs.codec import Codec
from waypost.codecs.gemini import codec as gemini
from waypost.codecs.openai_chat import codec as chat
from waypost.codecs.openai_responses import codec as responses


def test_a_plain_question_needs_nothing() -> None:
    assert needs_of(PLAIN, stream=False).capabilities == frozenset()
    assert needs_of(PLAIN, stream=True).capabilities == {Need.STREAMING}


def test_every_need_of_a_chat_request_is_shown_by_one() -> None:
    assert SHOWING.keys() == set(Need) - {Need.STREAMING, Need.EMBEDDINGS}
    for need, request in SHOWING.items():
        assert need in needs_of(request, stream=False).capabilities, need


@pytest.mark.parametrize(
    "request_",
    [
        replace(PLAIN, tools=(TOOL,), tool_choice=ToolChoice("none")),
        replace(PLAIN, reasoning=ReasoningWish()),
        replace(PLAIN, response_format=ResponseFormat("text")),
        replace(PLAIN, sampling=Sampling(temperature=1.0, top_p=1, choices=1, seed=3)),
        replace(PLAIN, provider_options={"openai": {"logprobs": False}, "google": {"generationConfig": None}}),
        replace(PLAIN, messages=(QUESTION, ANSWER, QUESTION)),
        replace(PLAIN, messages=(QUESTION, Message("assistant", (Text("Wait."), ToolCall("1", "f", "{}"))))),
        replace(PLAIN, messages=(QUESTION, Message("assistant", (Text("Wait."), ServerTool("anthropic", {}))))),
    ],
)
def test_what_looks_like_a_need_and_is_none(request_: Request) -> None:
    assert needs_of(request_, stream=False).capabilities == frozenset()


def test_images_in_the_result_of_a_tool_count() -> None:
    result = ToolResult("1", (Media("image", Url("https://example.com/a.png")),))
    request = Request("m", (QUESTION, Message("tool", (result,))))
    assert needs_of(request, stream=False).capabilities == {Need.IMAGES}


@pytest.mark.parametrize(
    ("codec", "body"),
    [
        (chat, b'{"model":"m","messages":[{"role":"user","content":"hi"}],"logprobs":true,"top_logprobs":2}'),
        (responses, b'{"model":"m","input":"hi","include":["message.output_text.logprobs"]}'),
        (responses, b'{"model":"m","input":"hi","top_logprobs":2}'),
        (
            gemini,
            b'{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"responseLogprobs":true,"logprobs":2}}',
        ),
    ],
)
def test_each_format_asks_for_logprobs_in_its_own_way(codec: Codec, body: bytes) -> None:
    assert needs_of(codec.decode_request(body).request, stream=False).capabilities == {Need.LOGPROBS}


def test_an_anthropic_request_as_it_comes() -> None:
    body = (
        b'{"model":"m","max_tokens":5000,"system":"Be brief.","thinking":{"type":"enabled","budget_tokens":2000},'
        b'"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"auto"},'
        b'"messages":[{"role":"user","content":[{"type":"document","source":'
        b'{"type":"url","url":"https://example.com/a.pdf"}}]}]}'
    )
    needs = needs_of(anthropic.decode_request(body).request, stream=True)
    assert needs.capabilities == {
        Need.SYSTEM_PROMPT,
        Need.REASONING,
        Need.REASONING_BUDGET,
        Need.TOOLS,
        Need.DOCUMENTS,
        Need.STREAMING,
    }
    assert needs.max_tokens == 5000
    assert needs.size.whole is False


@pytest.mark.parametrize(
    ("parts", "size"),
    [
        ((Text("a" * 400),), Size(100, whole=True)),
        ((Text("é" * 400),), Size(200, whole=True)),
        ((Text("a" * 5),), Size(2, whole=True)),
        ((Media("image", InlineData(b"x" * 9000, "image/png")),), Size(1100, whole=True)),
        ((Media("document", InlineData(b"x" * 400, "text/plain")),), Size(100, whole=True)),
        ((Media("document", InlineData(b"x" * 400, "application/pdf")), Text("a" * 4)), Size(1, whole=False)),
        (
            (
                Media("audio", InlineData(b"x", "audio/wav")),
                Media("document", InlineData(b"x" * 4, "text/plain")),
            ),
            Size(1, whole=False),
        ),
        ((ToolResult("1", (Text("a" * 400),)),), Size(100, whole=True)),
    ],
)
def test_the_length_of_a_prompt(parts: tuple[Text | Media | ToolResult, ...], size: Size) -> None:
    assert size_of(Request("m", (Message("user", parts),))) == size


def test_declared_tools_are_part_of_the_prompt() -> None:
    tool = replace(TOOL, description="d" * 4000)
    assert size_of(replace(PLAIN, tools=(tool,))).tokens >= 1000
