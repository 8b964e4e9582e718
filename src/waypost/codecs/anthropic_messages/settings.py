"""Everything of a request but its conversation: sampling, thinking, output format, tools. Both ways, as JSON members.

A member whose canonical form does not say all of it (a `display` wish beside a thinking budget) is also kept whole in
`provider_options["anthropic"]`, which wins when the request is written; None there leaves the member out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

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
from waypost.codecs.anthropic_messages.wire import NAME, Losses, keep, own
from waypost.codecs.custom_tools import as_function
from waypost.codecs.reading import WireError, objects, optional, required

DEFAULT_MAX_TOKENS: Final = 4096
"""Sent when the caller set none, since this format requires it: the most that the oldest Claude models accept."""
MIN_BUDGET_TOKENS: Final = 1024
"""The smallest thinking budget Anthropic takes."""

Members = dict[str, Json]


def decode_sampling(body: Members) -> Sampling:
    """Raises WireError. `max_tokens` is required, as at Anthropic's."""
    max_tokens = required(body, "max_tokens", int, "")
    if max_tokens < 0:
        raise WireError("max_tokens", "Input should be greater than or equal to 0")
    stop_sequences = optional(body, "stop_sequences", list, "") or []
    for index, sequence in enumerate(stop_sequences):
        if type(sequence) is not str:
            raise WireError(f"stop_sequences.{index}", "Input should be a string")
    return Sampling(
        max_tokens=max_tokens,
        temperature=_fraction(body, "temperature"),
        top_p=_fraction(body, "top_p"),
        top_k=optional(body, "top_k", int, ""),
        stop_sequences=tuple(stop_sequences),
    )


def _fraction(body: Members, name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) not in (int, float):
        raise WireError(name, "Input should be a number")
    if not 0 <= value <= 1:
        raise WireError(name, "Input should be between 0 and 1")
    return float(value)


def encode_sampling(sampling: Sampling, reasoning: ReasoningWish | None, losses: Losses, default: int) -> Members:
    """max_tokens, temperature, top_p, top_k, stop_sequences."""
    max_tokens = sampling.max_tokens
    if max_tokens is None:
        # Thinking counts against max_tokens, which must be over the budget.
        max_tokens = default + ((reasoning and reasoning.budget_tokens) or 0)
    members: Members = {
        "max_tokens": max_tokens,
        "temperature": _clamped(sampling.temperature, losses),
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "stop_sequences": _stop_sequences(sampling.stop_sequences, losses) or None,
    }
    for name in ("seed", "presence_penalty", "frequency_penalty"):
        if getattr(sampling, name) is not None:
            losses.add(f"sampling.{name}", "Anthropic has no such setting.")
    if (sampling.choices or 1) > 1:
        losses.add("sampling.choices", "Anthropic gives one answer a request.")
    return {name: value for name, value in members.items() if value is not None}


def _clamped(temperature: float | None, losses: Losses) -> float | None:
    if temperature is None or 0 <= temperature <= 1:
        return temperature
    if math.isnan(temperature):
        losses.add("sampling.temperature", "It is not a number.")
        return None
    losses.add("sampling.temperature", f"Anthropic's goes from 0 to 1: {temperature:g} was brought into that range.")
    return min(1.0, max(0.0, temperature))


def _stop_sequences(sequences: tuple[str, ...], losses: Losses) -> list[str]:
    visible = [sequence for sequence in sequences if sequence.strip()]
    if len(visible) != len(sequences):
        losses.add("sampling.stop_sequences", "Anthropic refuses those that are empty or only white space.")
    return visible


def decode_reasoning(body: Members) -> ReasoningWish | None:
    """Of `thinking` and `output_config.effort`. Raises WireError."""
    thinking = optional(body, "thinking", dict, "") or {}
    effort = optional(optional(body, "output_config", dict, "") or {}, "effort", str, "output_config")
    kind = required(thinking, "type", str, "thinking") if thinking else None
    if kind == "enabled":
        return ReasoningWish(budget_tokens=required(thinking, "budget_tokens", int, "thinking"))
    if kind == "disabled":
        return ReasoningWish(enabled=False)
    if effort is not None:
        return ReasoningWish(effort=effort)
    return ReasoningWish(enabled=True) if kind == "adaptive" else None


_EFFORTS: Final[Mapping[str, str]] = {
    **{effort: effort for effort in ("low", "medium", "high", "xhigh", "max")},
    "minimal": "low",
}


def encode_reasoning(wish: ReasoningWish | None, losses: Losses) -> Members:
    """`thinking`, and `output_config` with the effort."""
    if wish is None:
        return {}
    if wish.budget_tokens is not None:
        budget = max(MIN_BUDGET_TOKENS, wish.budget_tokens)
        if budget != wish.budget_tokens:
            losses.add("reasoning.budget_tokens", f"Raised to {MIN_BUDGET_TOKENS}, the least Anthropic takes.")
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    if wish.enabled is False or wish.effort == "none":
        return {"thinking": {"type": "disabled"}}
    if wish.effort is None:
        return {"thinking": {"type": "adaptive"}} if wish.enabled else {}
    effort = _EFFORTS.get(wish.effort)
    if effort != wish.effort:
        losses.add("reasoning.effort", f"Anthropic has no effort {wish.effort!r}; sent: {effort or 'none'}.")
    return {"thinking": {"type": "adaptive"}, **({"output_config": {"effort": effort}} if effort else {})}


def decode_response_format(body: Members) -> ResponseFormat | None:
    """Of `output_config.format`, or its older place `output_format`. Raises WireError."""
    config = optional(body, "output_config", dict, "") or {}
    path = "output_config.format"
    wire = optional(config, "format", dict, "output_config")
    if wire is None:
        wire, path = optional(body, "output_format", dict, ""), "output_format"
    if wire is None or required(wire, "type", str, path) != "json_schema":
        return None
    return ResponseFormat("json_schema", required(wire, "schema", dict, path))


def encode_response_format(wish: ResponseFormat | None, losses: Losses) -> Members:
    """The `format` member of `output_config`."""
    if wish is None or wish.kind == "text":
        return {}
    if wish.kind == "json_object" or wish.schema is None:
        losses.add("response_format", "Anthropic takes a JSON schema only: ask for JSON in the prompt, or give one.")
        return {}
    for name in ("name", "description"):
        if getattr(wish, name) is not None:
            losses.add(f"response_format.{name}", "Anthropic's output format is the schema alone.")
    if wish.strict is False:
        losses.add("response_format.strict", "Anthropic always holds the answer to the schema.")
    return {"format": {"type": "json_schema", "schema": dict(wish.schema)}}


def decode_tools(body: Members) -> tuple[Tool, ...]:
    """Functions; tools of Anthropic's own are Unknown. Raises WireError."""
    return tuple(_decode_tool(tool, f"tools.{index}") for index, tool in enumerate(objects(body, "tools", "")))


def _decode_tool(tool: Members, path: str) -> Tool:
    if (optional(tool, "type", str, path) or "custom") != "custom":
        return Unknown(NAME, tool)
    return FunctionTool(
        required(tool, "name", str, path),
        optional(tool, "description", str, path),
        required(tool, "input_schema", dict, path),
        optional(tool, "strict", bool, path),
        keep(tool, "type", "name", "description", "input_schema", "strict"),
    )


def encode_tools(tools: tuple[Tool, ...], losses: Losses) -> list[Members]:
    """The `tools` member."""
    encoded = [_encode_tool(tool, losses, f"tools[{number}]") for number, tool in enumerate(tools)]
    return [tool for tool in encoded if tool is not None]


def _encode_tool(tool: Tool, losses: Losses, what: str) -> Members | None:
    if isinstance(tool, Unknown):
        if tool.wire != NAME:
            losses.add(what, f"A tool only the {tool.wire} format knows.")
            return None
        return dict(tool.data)
    losses.foreign(f"{what}.opaque", tool.opaque)
    if isinstance(tool, CustomTool):
        tool = as_function(tool, losses.add, what)
    wire: Members = {"name": tool.name}
    if tool.description is not None:
        wire["description"] = tool.description
    # `type` is required here, and only objects are taken.
    wire["input_schema"] = {"type": "object", **(tool.parameters or {"properties": {}})}
    if tool.strict is not None:
        wire["strict"] = tool.strict
    return {**wire, **{name: value for name, value in own(tool.opaque).items() if name not in wire}}


_MODES: Final[Mapping[str, Literal["auto", "required", "tool", "none"]]] = {
    "auto": "auto",
    "any": "required",
    "tool": "tool",
    "none": "none",
}
_MODE_WORDS: Final = {mode: word for word, mode in _MODES.items()}


def decode_tool_choice(body: Members) -> ToolChoice | None:
    """Raises WireError."""
    wire = optional(body, "tool_choice", dict, "")
    if wire is None:
        return None
    mode = _MODES.get(required(wire, "type", str, "tool_choice"))
    if mode is None:
        raise WireError("tool_choice.type", "Input should be 'auto', 'any', 'tool' or 'none'")
    serial = optional(wire, "disable_parallel_tool_use", bool, "tool_choice")
    name = required(wire, "name", str, "tool_choice") if mode == "tool" else None
    return ToolChoice(mode, name, None if serial is None else not serial)


def encode_tool_choice(choice: ToolChoice | None, tools: list[Members], losses: Losses) -> Members:
    """The `tool_choice` member, left out where there is no tool: Anthropic refuses it then."""
    if choice is None:
        return {}
    if not tools:
        if choice.mode in ("required", "tool"):
            losses.add("tool_choice", "There is no tool to choose that Anthropic could be told of.")
        return {}
    wire: Members = {"type": _MODE_WORDS[choice.mode]}
    if choice.mode == "tool":
        wire["name"] = choice.name
    if choice.parallel is not None and choice.mode != "none":
        wire["disable_parallel_tool_use"] = not choice.parallel
    return {"tool_choice": wire}


_WHOLE: Final = ("thinking", "output_config", "output_format", "metadata")
"""Members of which the canonical form may not say all."""
_MAPPED: Final = frozenset({
    *_WHOLE,
    "model",
    "messages",
    "system",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "stream",
    "tools",
    "tool_choice",
})  # fmt: skip


def encode_wishes(request: Request, losses: Losses) -> Members:
    """`thinking`, `output_config` and `metadata`, from the canonical values alone."""
    members = encode_reasoning(request.reasoning, losses)
    if shape := encode_response_format(request.response_format, losses):
        members["output_config"] = {**members.get("output_config", {}), **shape}
    if request.end_user_id is not None:
        members["metadata"] = {"user_id": request.end_user_id}
    return members


def with_options(request: Request, body: Members) -> Request:
    """The request with all of the body that its canonical values would not write back."""
    options = {name: value for name, value in body.items() if name not in _MAPPED and value is not None}
    derived = encode_wishes(request, Losses())
    for name in _WHOLE:
        if derived.get(name) != body.get(name):
            options[name] = body.get(name)
    return replace(request, provider_options={"anthropic": options}) if options else request


def decode_end_user_id(body: Members) -> str | None:
    """Of `metadata.user_id`. Raises WireError."""
    return optional(optional(body, "metadata", dict, "") or {}, "user_id", str, "metadata")


__all__ = [
    "DEFAULT_MAX_TOKENS",
    "MIN_BUDGET_TOKENS",
    "decode_end_user_id",
    "decode_reasoning",
    "decode_response_format",
    "decode_sampling",
    "decode_tool_choice",
    "decode_tools",
    "encode_sampling",
    "encode_tool_choice",
    "encode_tools",
    "encode_wishes",
    "with_options",
]
