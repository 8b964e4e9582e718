"""The settings of a request beside its conversation, both ways: tools, tool choice, sampling, reasoning, text.

Options of the family come in two groups: what Chat Completions has under the same name is kept as
`provider_options["openai"]`, what only this format has under the format's own name, which that one lists as a loss
instead of sending it. Written are both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from waypost.chat import (
    CustomTool,
    FunctionTool,
    Json,
    ReasoningWish,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
    Unknown,
)
from waypost.codecs.openai_chat import settings as chat
from waypost.codecs.openai_chat.dialect import graft
from waypost.codecs.openai_chat.fields import Fields
from waypost.codecs.openai_responses.wire import FAMILY, OWN, WIRE, Losses, keep

SHARED_OPTIONS: Final = frozenset({
    "metadata",
    "moderation",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "service_tier",
    "store",
    "stream_options",
    "user",
    "verbosity",
})  # fmt: skip
"""Options that Chat Completions has too."""

CHAT_OPTIONS: Final = frozenset({
    "audio",
    "logit_bias",
    "modalities",
    "prediction",
    "response_format",
    "tool_choice",
    "web_search_options",
})  # fmt: skip
"""Options of Chat Completions that this format has not, or has in another form."""

LOGPROBS: Final = "message.output_text.logprobs"
"""The entry of `include` that asks for log-probabilities."""

MIN_OUTPUT_TOKENS: Final = 16
"""OpenAI refuses a smaller limit, which Chat Completions takes."""

STRICT: Final = "strict"


def decode_tools(body: Fields) -> tuple[Tool, ...]:
    """`tools`. A tool that is no function is kept whole."""
    values = body.array_or_none("tools") or []
    return tuple(_decode_tool(value, f"tools[{number}]") for number, value in enumerate(values))


def _decode_tool(value: Json, path: str) -> Tool:
    tool = Fields(value, path)
    kind = tool.text("type")
    if kind == "custom":
        return _decode_custom(tool)
    if kind != "function":
        return Unknown(WIRE, value)
    strict = tool.flag_or_none(STRICT)
    name, description = tool.text("name"), tool.text_or_none("description")
    parameters = tool.mapping_or_none("parameters")
    # Unsaid means strict where the schema allows it here, and not strict in every other format: it is marked.
    marked: dict[str, Any] = {STRICT: "unsaid"} if strict is None else {}
    return FunctionTool(name, description, parameters, strict, keep({**tool.rest(), **marked}))


def _decode_custom(tool: Fields) -> CustomTool:
    name, description, form = tool.text("name"), tool.text_or_none("description"), tool.mapping_or_none("format")
    return CustomTool(name, description, form, keep(tool.rest()))


def encode_tools(request: Request, losses: Losses) -> dict[str, Json]:
    """`tools`, `tool_choice` and `parallel_tool_calls`, where they are set."""
    tools = [encoded for tool in request.tools if (encoded := _encode_tool(tool, losses)) is not None]
    wire: dict[str, Json] = {"tools": tools} if tools else {}
    choice = request.tool_choice
    if choice is None:
        return wire
    if not tools and choice.mode in ("required", "tool"):
        losses.add("tool_choice", "there is no tool to choose")
        return wire
    named = {"type": "custom" if chat.names_custom(choice, request) else "function", "name": choice.name}
    wire["tool_choice"] = named if choice.mode == "tool" else choice.mode
    if choice.parallel is not None:
        wire["parallel_tool_calls"] = choice.parallel
    return wire


def _encode_tool(tool: Tool, losses: Losses) -> dict[str, Json] | None:
    if isinstance(tool, FunctionTool):
        own = dict(losses.own(tool.opaque))
        unsaid = own.pop(STRICT, None) == "unsaid" and tool.strict is None
        wire: dict[str, Json] = {"type": "function", "name": tool.name, "parameters": tool.parameters}
        wire[STRICT] = None if unsaid else bool(tool.strict)
        if tool.description is not None:
            wire["description"] = tool.description
        return graft(wire, own)
    if isinstance(tool, CustomTool):
        custom = {"type": "custom", "name": tool.name, "description": tool.description, "format": tool.format}
        return graft({name: value for name, value in custom.items() if value is not None}, losses.own(tool.opaque))
    if tool.wire == WIRE:
        return dict(tool.data)
    losses.add(f"tools.{tool.wire}", f"only {tool.wire} has such a tool")
    return None


def decode_tool_choice(body: Fields, options: dict[str, Json]) -> ToolChoice | None:
    """`tool_choice` and `parallel_tool_calls`. A choice only this format has goes to `options`."""
    parallel = body.flag_or_none("parallel_tool_calls")
    value = body.take("tool_choice")
    if value == "auto" or value == "none" or value == "required":
        return ToolChoice(value, parallel=parallel)
    if value is not None:
        choice = Fields(value, "tool_choice")
        if choice.text("type") in ("function", "custom"):
            return ToolChoice("tool", choice.text("name"), parallel)
        options["tool_choice"] = value
    return None if parallel is None else ToolChoice("auto", parallel=parallel)


def decode_sampling(body: Fields) -> Sampling:
    """`max_output_tokens`, `temperature` and `top_p`."""
    return Sampling(
        max_tokens=body.integer_or_none("max_output_tokens", least=1),
        temperature=body.number_or_none("temperature"),
        top_p=body.number_or_none("top_p"),
    )


def encode_sampling(sampling: Sampling, losses: Losses) -> dict[str, Json]:
    """The settings that are set; those the format lacks are noted as lost."""
    for name in ("top_k", "stop_sequences", "seed", "presence_penalty", "frequency_penalty"):
        if getattr(sampling, name) not in (None, ()):
            losses.add(f"sampling.{name}", "OpenAI's Responses API has no such setting")
    if (sampling.choices or 1) > 1:
        losses.add("sampling.choices", "the format gives one answer a request")
    max_tokens = sampling.max_tokens
    if max_tokens is not None and max_tokens < MIN_OUTPUT_TOKENS:
        losses.add("sampling.max_tokens", f"raised to {MIN_OUTPUT_TOKENS}, the least OpenAI's Responses API takes")
        max_tokens = MIN_OUTPUT_TOKENS
    wire = {
        "max_output_tokens": max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    return {name: value for name, value in wire.items() if value is not None}


def decode_reasoning(body: Fields, options: dict[str, Json]) -> ReasoningWish | None:
    """`reasoning.effort`. What else is said there goes to `options`."""
    if body.take("reasoning") is None:
        return None
    reasoning = body.inner("reasoning")
    effort = reasoning.text_or_none("effort")
    if rest := reasoning.rest():
        options["reasoning"] = rest
    return None if effort is None else ReasoningWish(effort=effort)


def encode_reasoning(wish: ReasoningWish | None, losses: Losses) -> dict[str, Json]:
    """`reasoning` with the effort, the only wish the format has."""
    effort = chat.encode_reasoning(wish, losses).get("reasoning_effort")
    return {} if effort is None else {"reasoning": {"effort": effort}}


def decode_text(body: Fields, options: dict[str, Json]) -> ResponseFormat | None:
    """`text.format`, and `text.verbosity` as the option it is in Chat Completions. All else goes to `options`."""
    if body.take("text") is None:
        return None
    text = body.inner("text")
    if (verbosity := text.text_or_none("verbosity")) is not None:
        options["verbosity"] = verbosity
    value = text.mapping_or_none("format")
    known = None if value is None else _known_format(Fields(value, "text.format"))
    kept = {**text.rest(), **({"format": value} if value is not None and known is None else {})}
    if kept:
        options["text"] = kept
    return known


def _known_format(form: Fields) -> ResponseFormat | None:
    kind = form.take("type")
    known: ResponseFormat | None = None
    if kind == "text" or kind == "json_object":
        known = ResponseFormat(kind)
    elif kind == "json_schema":
        schema, name = form.mapping_or_none("schema"), form.text_or_none("name")
        known = ResponseFormat(kind, schema, name, form.text_or_none("description"), form.flag_or_none(STRICT))
    return None if form.rest() else known


def encode_response_format(form: ResponseFormat | None) -> dict[str, Json]:
    """`text` with the format; a schema without a name, which the API demands, gets one."""
    wire = chat.encode_response_format(form).get("response_format")
    if wire is None:
        return {}
    return {"text": {"format": {"type": wire["type"], **wire.get("json_schema", {})}}}


def split_options(options: Mapping[str, Json]) -> dict[str, dict[str, Json]]:
    """A request's other members, by the formats that have them."""
    shared = {name: value for name, value in options.items() if name in SHARED_OPTIONS}
    own = {name: value for name, value in options.items() if name not in SHARED_OPTIONS}
    return {**({FAMILY: shared} if shared else {}), **({OWN: own} if own else {})}


def joined_options(request: Request, losses: Losses) -> dict[str, Json]:
    """The members to write; what only Chat Completions or another family has is noted as lost."""
    for family, options in request.provider_options.items():
        for name in options:
            if family not in (FAMILY, OWN) or (family == FAMILY and name in CHAT_OPTIONS):
                losses.add(f"provider_options.{family}.{name}", "only the format it came from understands it")
    shared = request.provider_options.get(FAMILY, {})
    own = dict(request.provider_options.get(OWN, {}))
    wire = {name: value for name, value in shared.items() if name not in CHAT_OPTIONS}
    if wire.pop("logprobs", None):
        own["include"] = [*(own.get("include") or ()), LOGPROBS]
    if (verbosity := wire.pop("verbosity", None)) is not None:
        own["text"] = {"verbosity": verbosity, **(own.get("text") or {})}
    return {**wire, **own}
