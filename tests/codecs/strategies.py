"""Hypothesis strategies for canonical values, for every wire format's tests.

`requests` and `responses` take a `Shape` that says which parts occur; a format's exact-law tests give one that holds
only what the format carries whole, its loss tests `ANYTHING`. `events_of` cuts an answer into a stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from waypost.chat import (
    Choice,
    Citation,
    CitationDelta,
    Event,
    FileId,
    Finish,
    FunctionTool,
    InlineData,
    LogprobsDelta,
    Media,
    Message,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    ReasoningWish,
    Refusal,
    Request,
    Response,
    ResponseFormat,
    ResponseStart,
    Sampling,
    ServerTool,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Unknown,
    Url,
    Usage,
    UsageUpdate,
)

Json = Any


def texts(min_size: int = 1, max_size: int = 24) -> SearchStrategy[str]:
    """Valid Unicode, line ends and control characters included."""
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=min_size, max_size=max_size)


def names() -> SearchStrategy[str]:
    """Identifiers such as tools and keys have."""
    return st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True)


def json_values() -> SearchStrategy[Json]:
    """Any JSON value whose numbers every reader reads alike."""
    numbers = st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6)
    scalars = st.none() | st.booleans() | numbers | texts(0)
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names(), inner, max_size=3), max_leaves=6
    )


def json_objects() -> SearchStrategy[dict[str, Json]]:
    """A JSON object."""
    return st.dictionaries(names(), json_values(), max_size=3)


def tool_arguments() -> SearchStrategy[str]:
    """JSON text, as a model writes it."""
    return st.sampled_from(["{}", '{"city": "Zürich"}', '{"a":[1,2,{"b":null}]}', '{"text":"line\\nnext \\u00e9"}'])


def images(inline: bool = True) -> SearchStrategy[Media]:
    """Images: bytes or addresses."""
    media_types = st.sampled_from(["image/png", "image/jpeg", "image/webp"])
    data = st.builds(InlineData, st.binary(max_size=32), media_types)
    url = st.builds(Url, st.sampled_from(["https://example.org/a.png", "https://example.org/b?c=d%20e"]))
    return st.builds(Media, st.just("image"), data | url if inline else url)


def unknown_parts(wire: str) -> SearchStrategy[Unknown]:
    """Parts of a kind no version knows."""
    return st.builds(lambda data: Unknown(wire, {"type": "x_future", **data}), json_objects())


def tool_calls(custom: bool = False) -> SearchStrategy[ToolCall]:
    """Calls with arguments."""
    function = st.builds(ToolCall, names(), names(), tool_arguments())
    return function | st.builds(ToolCall, names(), names(), texts(), st.just("custom")) if custom else function


def function_tools() -> SearchStrategy[FunctionTool]:
    """Functions with and without a schema."""
    schemas = st.sampled_from([{"type": "object", "properties": {"city": {"type": "string"}}}, {"type": "object"}])
    return st.builds(FunctionTool, names(), st.none() | texts(), st.none() | schemas, st.none() | st.booleans())


def samplings(**fixed: SearchStrategy[Any]) -> SearchStrategy[Sampling]:
    """Settings; `fixed` replaces the strategy of a field, for instance top_k=st.none()."""
    numbers = st.none() | st.floats(0, 2)
    counts = st.none() | st.integers(1, 10**6)
    fields: dict[str, SearchStrategy[Any]] = {
        "max_tokens": counts,
        "temperature": numbers,
        "top_p": numbers,
        "top_k": counts,
        "stop_sequences": st.lists(texts(), max_size=3).map(tuple),
        "seed": counts,
        "presence_penalty": numbers,
        "frequency_penalty": numbers,
        "choices": st.none() | st.integers(1, 4),
    }
    return st.builds(Sampling, **{**fields, **fixed})


def _tuples(items: SearchStrategy[Any], least: int = 0, most: int = 3) -> SearchStrategy[Any]:
    return st.lists(items, min_size=least, max_size=most).map(tuple)


@dataclass(frozen=True, slots=True)
class Shape:
    """What occurs in the requests. Each field is a strategy for the field of that meaning."""

    messages: SearchStrategy[Message]
    tools: SearchStrategy[Tool] = field(default_factory=function_tools)
    tool_choices: SearchStrategy[ToolChoice | None] = field(default_factory=lambda: st.none())
    samplings: SearchStrategy[Sampling] = field(default_factory=samplings)
    reasonings: SearchStrategy[ReasoningWish | None] = field(default_factory=lambda: st.none())
    formats: SearchStrategy[ResponseFormat | None] = field(default_factory=lambda: st.none())
    end_users: SearchStrategy[str | None] = field(default_factory=lambda: st.none() | names())
    options: SearchStrategy[dict[str, dict[str, Json]]] = field(default_factory=lambda: st.just({}))


def tool_choices() -> SearchStrategy[ToolChoice | None]:
    """Every mode."""
    parallel = st.none() | st.booleans()
    free = st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"]), st.none(), parallel)
    return st.none() | free | st.builds(ToolChoice, st.just("tool"), names(), parallel)


def response_formats() -> SearchStrategy[ResponseFormat | None]:
    """Every kind; a schema has a name."""
    plain = st.builds(ResponseFormat, st.sampled_from(["text", "json_object"]))
    schema = st.just({"type": "object", "additionalProperties": False})
    named = st.builds(
        ResponseFormat, st.just("json_schema"), schema, names(), st.none() | texts(), st.none() | st.booleans()
    )
    return st.none() | plain | named


@st.composite
def requests(draw: st.DrawFn, shape: Shape) -> Request:
    """Requests of one to four messages. A tool choice comes only with tools."""
    tools = draw(_tuples(shape.tools, 0, 2))
    return Request(
        model=draw(names()),
        messages=draw(_tuples(shape.messages, 1, 4)),
        tools=tools,
        tool_choice=draw(shape.tool_choices) if tools else None,
        sampling=draw(shape.samplings),
        reasoning=draw(shape.reasonings),
        response_format=draw(shape.formats),
        end_user_id=draw(shape.end_users),
        provider_options=draw(shape.options),
    )


def _opaques() -> SearchStrategy[dict[str, dict[str, Json]]]:
    signed: list[dict[str, dict[str, Json]]] = [{}, {"anthropic": {"signature": "c2ln"}}]
    return st.sampled_from([*signed, {"anthropic": {"cache_control": {"ttl": "1h"}}}])


def any_parts() -> SearchStrategy[Part]:
    """Parts of every kind, wire and family."""
    wires = st.sampled_from(["openai_chat", "anthropic_messages", "gemini"])
    sources = st.builds(InlineData, st.binary(max_size=8), st.sampled_from(["image/png", "audio/wav", "text/plain"]))
    anywhere = sources | st.builds(FileId, names()) | st.just(Url("https://example.org/x"))
    citations = _tuples(st.builds(Citation, wires, json_objects()), 0, 1)
    media = st.builds(
        Media, st.sampled_from(["image", "audio", "document"]), anywhere, st.none() | names(), opaque=_opaques()
    )
    unknown = wires.flatmap(unknown_parts)
    results = _tuples(st.builds(Text, texts()) | media | unknown, 0, 3)
    return st.one_of(
        st.builds(Text, texts(0), citations, _opaques()),
        st.builds(Reasoning, texts(0), _opaques()),
        st.builds(Refusal, texts(0), _opaques()),
        st.builds(ToolCall, names(), names(), texts(0), st.sampled_from(["function", "custom"]), _opaques()),
        st.builds(ServerTool, wires, st.builds(lambda data: {"type": "x_tool", **data}, json_objects())),
        st.builds(ToolResult, names(), results, st.none() | names(), st.booleans(), _opaques()),
        media,
        unknown,
    )


def anything() -> Shape:
    """Requests that use every field and part, in any place."""
    roles = st.sampled_from(["system", "developer", "user", "assistant", "tool"])
    wishes = st.builds(ReasoningWish, effort=st.sampled_from(["low", "high"]))
    wishes |= st.builds(ReasoningWish, budget_tokens=st.integers(1024, 64000))
    wishes |= st.builds(ReasoningWish, enabled=st.booleans())
    unknown_tools = st.sampled_from(["openai_chat", "anthropic_messages"]).flatmap(unknown_parts)
    return Shape(
        messages=st.builds(Message, roles, _tuples(any_parts(), 0, 4), st.none() | names(), _opaques()),
        tools=function_tools() | unknown_tools,
        tool_choices=tool_choices(),
        reasonings=st.none() | wishes,
        formats=response_formats(),
        options=st.sampled_from([{}, {"anthropic": {"thinking": {"type": "enabled"}}, "openai": {"store": True}}]),
    )


def usages(**fixed: SearchStrategy[Any]) -> SearchStrategy[Usage]:
    """Counts, or none at all; `fixed` replaces the strategy of a field."""
    counts = st.none() | st.integers(0, 10**6)
    fields: dict[str, SearchStrategy[Any]] = {
        "input_tokens": st.integers(0, 10**6),
        "input_cache_read_tokens": counts,
        "output_tokens": st.integers(0, 10**6),
    }
    return st.just(Usage()) | st.builds(Usage, **{**fields, **fixed})


@st.composite
def responses(
    draw: st.DrawFn,
    parts: SearchStrategy[tuple[Part, ...]],
    finishes: SearchStrategy[Finish],
    usage: SearchStrategy[Usage] | None = None,
    most_choices: int = 1,
) -> Response:
    """Answers; `finishes` gives reason, raw reason and stop sequence together (its `choice` is not used)."""
    choices = []
    for index in range(draw(st.integers(1, most_choices))):
        finish = draw(finishes)
        choices.append(Choice(index, draw(parts), finish.reason, finish.raw_reason, finish.stop_sequence))
    return Response(
        draw(names()),
        draw(names()),
        tuple(choices),
        draw(usages() if usage is None else usage),
        draw(st.integers(0, 2**31)),
    )


def _growth(part: Part) -> tuple[Part, str]:
    """A part at its start, and the text that it grows by."""
    if isinstance(part, ToolCall):
        return replace(part, arguments=""), part.arguments
    if isinstance(part, Text):
        return replace(part, text="", citations=()), part.text
    if isinstance(part, Reasoning | Refusal):
        return replace(part, text=""), part.text
    return part, ""


def events_of(response: Response, piece: int = 3) -> Iterator[Event]:
    """The answer as a stream, its texts cut into pieces of so many characters."""
    yield ResponseStart(response.id, response.model, response.created, response.provider_fields)
    for choice in response.choices:
        for index, part in enumerate(choice.parts):
            begun, text = _growth(part)
            yield PartStart(index, begun, choice.index)
            for at in range(0, len(text), piece):
                yield PartDelta(index, text[at : at + piece], choice.index)
            for citation in part.citations if isinstance(part, Text) else ():
                yield CitationDelta(index, citation, choice.index)
            yield PartEnd(index, choice.index)
        if choice.logprobs is not None:
            yield LogprobsDelta(choice.logprobs, choice.index)
    yield UsageUpdate(response.usage)
    for choice in response.choices:
        yield Finish(choice.reason, choice.raw_reason, choice.stop_sequence, choice.index)
