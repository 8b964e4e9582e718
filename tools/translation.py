"""The page of what is lost between two wire formats: a catalogue of features, each put through the encoders.

Nothing is told of a pair by hand. A feature is of a format if its own encoder reports no loss for it; what the other
format's encoder then reports stands on the page. The invariant: each feature is carried whole by one format at least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import permutations
from typing import Any, Final, TypeVar

from waypost.chat import (
    Choice,
    Citation,
    CustomTool,
    FileId,
    FinishReason,
    FunctionTool,
    InlineData,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    ReasoningWish,
    Refusal,
    Request,
    Response,
    ResponseFormat,
    Sampling,
    ServerTool,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    Unknown,
    Url,
    Usage,
)
from waypost.codecs import anthropic_messages, gemini, openai_chat, openai_responses
from waypost.codecs.codec import Codec, Encoded, Loss

Value = TypeVar("Value", bound=Request | Response)

CODECS: Final[Mapping[str, Codec]] = {
    "OpenAI Chat Completions": openai_chat.codec,
    "OpenAI Responses": openai_responses.codec,
    "Anthropic Messages": anthropic_messages.codec,
    "Gemini generateContent": gemini.codec,
}

HELLO: Final = Message("user", (Text("Hello"),))
PLAIN: Final = Request("model", (HELLO,), sampling=Sampling(max_tokens=100))
SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Final = FunctionTool("look", "Looks.", SCHEMA, strict=False)
CALL: Final = ToolCall("call_1", "look", '{"city":"Paris"}')
PNG: Final = InlineData(b"\x89PNG", "image/png")
SIGNED: Final[Mapping[str, Opaque]] = {
    "Anthropic": {"anthropic": {"signature": "c2ln"}},
    "Gemini": {"google": {"thoughtSignature": "c2ln"}},
    "OpenAI": {"openai_responses": {"id": "rs_1", "item": {"encrypted_content": "c2ln"}}},
}


def asked(*parts: Part) -> Request:
    """A question of these parts."""
    return replace(PLAIN, messages=(Message("user", parts),))


def answered(*parts: Part) -> Request:
    """A conversation in which the assistant said these parts."""
    return replace(PLAIN, messages=(HELLO, Message("assistant", parts), HELLO))


def called(result: ToolResult) -> Request:
    """A conversation in which a tool was called and gave that back."""
    turns = (HELLO, Message("assistant", (CALL,)), Message("tool", (result,)))
    return replace(PLAIN, messages=turns, tools=(TOOL,))


def tooled(choice: ToolChoice) -> Request:
    """A request with a tool and a wish about calling it."""
    return replace(PLAIN, tools=(TOOL,), tool_choice=choice)


def option(family: str, **members: object) -> Request:
    """A request with settings that only one format has."""
    return replace(PLAIN, provider_options={family: members})


GRAMMAR: Final = {"type": "grammar", "syntax": "regex", "definition": "a+"}
REQUESTS: Final[Mapping[str, Request]] = {
    "temperature up to 1": replace(PLAIN, sampling=Sampling(100, temperature=0.5)),
    "temperature above 1": replace(PLAIN, sampling=Sampling(100, temperature=1.5)),
    "top-p": replace(PLAIN, sampling=Sampling(100, top_p=0.5)),
    "top-k": replace(PLAIN, sampling=Sampling(100, top_k=5)),
    "stop sequences": replace(PLAIN, sampling=Sampling(100, stop_sequences=("END",))),
    "seed": replace(PLAIN, sampling=Sampling(100, seed=7)),
    "presence penalty": replace(PLAIN, sampling=Sampling(100, presence_penalty=0.5)),
    "frequency penalty": replace(PLAIN, sampling=Sampling(100, frequency_penalty=0.5)),
    "several answers": replace(PLAIN, sampling=Sampling(100, choices=2)),
    "reasoning: an effort": replace(PLAIN, reasoning=ReasoningWish(effort="high")),
    "reasoning: the effort minimal": replace(PLAIN, reasoning=ReasoningWish(effort="minimal")),
    "reasoning: a budget of tokens": replace(PLAIN, reasoning=ReasoningWish(budget_tokens=2048)),
    "reasoning: off": replace(PLAIN, reasoning=ReasoningWish(enabled=False)),
    "output: any JSON object": replace(PLAIN, response_format=ResponseFormat("json_object")),
    "output: a JSON schema": replace(PLAIN, response_format=ResponseFormat("json_schema", SCHEMA)),
    "output: a schema with a name": replace(PLAIN, response_format=ResponseFormat("json_schema", SCHEMA, "city")),
    "tool: a function": replace(PLAIN, tools=(TOOL,)),
    "tool: a strict function": replace(PLAIN, tools=(replace(TOOL, strict=True),)),
    "tool: custom, plain text": replace(PLAIN, tools=(CustomTool("run", "Runs it."),)),
    "tool: custom, with a grammar": replace(PLAIN, tools=(CustomTool("run", "Runs it.", GRAMMAR),)),
    "tool: Anthropic's own": replace(
        PLAIN, tools=(Unknown("anthropic_messages", {"type": "web_search_20250305", "name": "web_search"}),)
    ),
    "tool: Gemini's own": replace(PLAIN, tools=(Unknown("gemini", {"googleSearch": {}}),)),
    "tool: OpenAI's own": replace(PLAIN, tools=(Unknown("openai_responses", {"type": "web_search"}),)),
    "tool choice: none": tooled(ToolChoice("none")),
    "tool choice: any": tooled(ToolChoice("required")),
    "tool choice: one by name": tooled(ToolChoice("tool", "look")),
    "tool choice: one call at a time": tooled(ToolChoice("auto", parallel=False)),
    "end user's id": replace(PLAIN, end_user_id="user-1"),
    "system prompt": replace(PLAIN, messages=(Message("system", (Text("Be brief."),)), HELLO)),
    "system prompt within the conversation": replace(
        PLAIN, messages=(HELLO, Message("assistant", (Text("Hi"),)), Message("system", (Text("Be brief."),)), HELLO)
    ),
    "speaker's name": replace(PLAIN, messages=(replace(HELLO, name="Ann"),)),
    "image: bytes": asked(Media("image", PNG)),
    "image: an address": asked(Media("image", Url("https://example.org/a.png"))),
    "image: a stored file": asked(Media("image", FileId("file_1"))),
    "image: wished detail": asked(Media("image", PNG, detail="high")),
    "sound": asked(Media("audio", InlineData(b"RIFF", "audio/wav"))),
    "document: bytes": asked(Media("document", InlineData(b"%PDF", "application/pdf"), "a.pdf")),
    "document: an address": asked(Media("document", Url("https://example.org/a.pdf"))),
    "document: a stored file": asked(Media("document", FileId("file_1"))),
    **{f"earlier thinking, signed by {vendor}": answered(Reasoning("Hm.", SIGNED[vendor])) for vendor in SIGNED},
    "earlier refusal": answered(Refusal("I won't.")),
    "earlier image by the model": answered(Media("image", PNG)),
    "call and result": called(ToolResult("call_1", (Text("sunny"),))),
    "result that tells of a failure": called(ToolResult("call_1", (Text("no such city"),), is_error=True)),
    "result with an image": called(ToolResult("call_1", (Text("see"), Media("image", PNG)))),
    "cache mark": asked(Text("Hello", opaque={"anthropic": {"cache_control": {"type": "ephemeral"}}})),
    "setting of Chat Completions: logit_bias": option("openai", logit_bias={"50": 1}),
    "setting of OpenAI's: store": option("openai", store=True),
    "setting of Responses: previous_response_id": option("openai_responses", previous_response_id="resp_1"),
    "setting of Anthropic's: container": option("anthropic", container="c_1"),
    "setting of Gemini's: safetySettings": option("google", safetySettings=[]),
}
"""What callers ask for, one thing each."""


def reply(*parts: Part, reason: FinishReason = "stop", raw: str | None = None) -> Response:
    """An answer of these parts."""
    return Response("id", "model", (Choice(0, parts, reason, raw),), COUNTED, created=None)


COUNTED: Final = Usage(input_tokens=5, input_cache_read_tokens=0, output_tokens=5)
SAID: Final = Text("Hi")
BASE: Final = reply(SAID)
RESPONSES: Final[Mapping[str, Response]] = {
    "text": BASE,
    **{f"thinking, signed by {vendor}": reply(Reasoning("Hm.", SIGNED[vendor]), SAID) for vendor in SIGNED},
    "thinking without a signature": reply(Reasoning("Hm."), SAID),
    "refusal": reply(Refusal("I won't.")),
    "function call": reply(CALL, reason="tool_calls"),
    "custom call": reply(ToolCall("call_1", "run", "1 + 1", "custom"), reason="tool_calls"),
    "citation of OpenAI's": reply(Text("Hi", (Citation("openai_chat", {"type": "url_citation"}),))),
    "citation of Anthropic's": reply(Text("Hi", (Citation("anthropic_messages", {"type": "char_location"}),))),
    "image by the model": reply(Media("image", PNG)),
    "Anthropic's own tool at work": reply(
        ServerTool("anthropic_messages", {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})
    ),
    "OpenAI's own tool at work": reply(ServerTool("openai_responses", {"type": "web_search_call", "id": "ws_1"})),
    "Gemini's own tool at work": reply(ServerTool("gemini", {"executableCode": {"code": "1"}})),
    "log-probabilities": replace(
        BASE, choices=(Choice(0, (SAID,), "stop", logprobs={"content": [{"token": "Hi", "logprob": -0.1}]}),)
    ),
    "several answers": replace(BASE, choices=(Choice(0, (SAID,), "stop"), Choice(1, (SAID,), "stop"))),
    "stop sequence that was hit": replace(BASE, choices=(Choice(0, (SAID,), "stop", stop_sequence="END"),)),
    "end: too long": reply(SAID, reason="length"),
    "end: a content filter": reply(SAID, reason="content_filter"),
    "end: a pause": reply(SAID, reason="pause", raw="pause_turn"),
    "end: a word of its own": reply(SAID, reason="other", raw="LANGUAGE"),
    "time of the answer": replace(BASE, created=1_700_000_000),
    "counts that were not reported": replace(BASE, usage=Usage()),
    "count: written to the cache for an hour": replace(BASE, usage=replace(COUNTED, input_cache_write_1h_tokens=3)),
    "count: sound": replace(BASE, usage=replace(COUNTED, output_audio_tokens=3)),
    "count: reasoning": replace(BASE, usage=replace(COUNTED, output_reasoning_tokens=3)),
    "count: searches": replace(BASE, usage=replace(COUNTED, server_tool_calls={"web_search": 1})),
    "service tier": replace(BASE, usage=replace(COUNTED, service_tier="priority")),
}
"""What providers answer, one thing each."""


def translation_page(notice: str) -> str:
    """The page's text."""
    lines = [
        notice,
        "# What is lost between formats\n",
        "A caller of one format may reach a provider of any other. What the provider's format cannot carry of a",
        "request, or the caller's of an answer, is left out or written otherwise, never in silence: each loss is told.",
        "Where both speak one format nothing has to be translated.\n",
        "For each pair below, features of the one format that do not arrive whole in the other; all that is not listed",
        "does. Files stored at one vendor mean nothing to another, though their ids are passed on.\n",
    ]
    for caller, provider in permutations(CODECS, 2):
        lines += [f"## {caller} before {provider}\n"]
        lines += _table("of a request", _losses(REQUESTS, encode_request, caller, provider))
        lines += _table("of an answer", _losses(RESPONSES, encode_response, provider, caller))
    return "\n".join(lines)


def encode_request(codec: Codec, request: Request) -> Encoded:
    """The request's body."""
    return codec.encode_request(request, stream=False)


def encode_response(codec: Codec, response: Response) -> Encoded:
    """The answer's body."""
    return codec.encode_response(response)


def _losses(
    features: Mapping[str, Value], encode: Callable[[Codec, Value], Encoded], source: str, target: str
) -> Iterator[tuple[str, tuple[Loss, ...]]]:
    """The features of the source that the target does not carry whole, each with what was reported of it."""
    for name, value in features.items():
        if not lost(value, encode, source) and (losses := lost(value, encode, target)):
            yield name, losses


def lost(value: Value, encode: Callable[[Codec, Value], Encoded], format_name: str) -> tuple[Loss, ...]:
    """What the format's encoder reports of the feature, beside what it reports of a plain request or answer."""
    base: Any = PLAIN if isinstance(value, Request) else BASE
    plain = encode(CODECS[format_name], base).losses
    return tuple(loss for loss in encode(CODECS[format_name], value).losses if loss not in plain)


def _table(title: str, rows: Iterator[tuple[str, tuple[Loss, ...]]]) -> list[str]:
    lines = [f"| {title} | what becomes of it |", "| --- | --- |"]
    for name, losses in rows:
        told = " ".join(dict.fromkeys(_sentence(loss.why) for loss in losses))
        lines.append(f"| {name} | {told} |")
    return [*lines, ""]


def _sentence(why: str) -> str:
    return (why[:1].upper() + why[1:]).removesuffix(".").replace("|", r"\|") + "."
