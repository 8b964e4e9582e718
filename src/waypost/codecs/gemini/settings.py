"""Everything of a request but its conversation: tools, their choice, sampling, thinking, output format. Both ways.

What the canonical values would not write back as it came (safetySettings, several allowed functions, a thinking
budget without its thoughts) is found by writing them and comparing, and is kept as the difference in
`provider_options["google"]`; None there leaves a member out. So a request comes back as it was, but for schemas in
Google's own form, which are written as the JSON Schema that they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Final, Literal

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
from waypost.codecs.custom_tools import as_function
from waypost.codecs.gemini.schema import json_schema
from waypost.codecs.gemini.wire import FAMILY, NAME, Losses, Members, apply, difference, integer, number, own, repeated
from waypost.codecs.reading import WireError, optional, required

CONFIG: Final = "generationConfig"
_CONVERSATION: Final = frozenset({"model", "contents", "systemInstruction", "tools"})
"""What the settings are not. A model in the body says again what the URL says."""


def decode_settings(body: Members, request: Request) -> Request:
    """The request with all of the body but its conversation. Raises WireError."""
    config = _with_json_schema(optional(body, CONFIG, dict, "") or {}, "responseSchema", "responseJsonSchema", CONFIG)
    request = replace(
        request,
        tools=_decode_tools(body),
        tool_choice=_decode_tool_choice(body),
        sampling=_decode_sampling(config),
        reasoning=_decode_reasoning(config),
        response_format=_decode_format(config),
    )
    derived = _derive(request, Losses())
    options = difference({name: value for name, value in body.items() if name not in _CONVERSATION}, derived)
    if options.pop(CONFIG, None) is not None and (changes := difference(config, derived.get(CONFIG, {}))):
        options[CONFIG] = changes
    return replace(request, provider_options={FAMILY: options}) if options else request


def _with_json_schema(data: Members, name: str, standard: str, path: str) -> Members:
    """The members with the schema in its standard form, under the name for that."""
    schema = optional(data, name, dict, path)
    if schema is None:
        return data
    return {standard: json_schema(schema), **{key: item for key, item in data.items() if key != name}}


def encode_settings(request: Request, losses: Losses) -> Members:
    """All members of the body but those of the conversation."""
    losses.foreign("provider_options", request.provider_options)
    if request.end_user_id is not None:
        losses.add("end_user_id", "Gemini has no such field.")
    derived = _derive(request, losses)
    options = {name: value for name, value in own(request.provider_options).items() if name not in _CONVERSATION}
    if isinstance(config := options.get(CONFIG), Mapping):
        options[CONFIG] = apply(derived.get(CONFIG, {}), config) or None
    tools = encode_tools(request.tools, losses)
    return {**({"tools": tools} if tools else {}), **apply(derived, options)}


def _derive(request: Request, losses: Losses) -> Members:
    """`toolConfig` and `generationConfig`, from the canonical values alone."""
    config = {
        **_encode_sampling(request.sampling),
        **_encode_reasoning(request.reasoning, losses),
        **_encode_format(request.response_format, losses),
    }
    choice = _encode_tool_choice(request.tool_choice, request.tools, losses)
    return {**choice, **({CONFIG: config} if config else {})}


def _decode_tools(body: Members) -> tuple[Tool, ...]:
    """Functions one by one; tools of Google's own are Unknown."""
    tools: list[Tool] = []
    for index, tool in enumerate(repeated(body, "tools", "")):
        for name, value in tool.items():
            if name != "functionDeclarations":
                tools.append(Unknown(NAME, {name: value}))
                continue
            path = f"tools.{index}"
            functions = enumerate(repeated(tool, name, path))
            tools += [_decode_function(item, f"{path}.{name}.{place}") for place, item in functions]
    return tuple(tools)


def _decode_function(wire: Members, path: str) -> FunctionTool:
    wire = _with_json_schema(wire, "parameters", "parametersJsonSchema", path)
    schema = optional(wire, "parametersJsonSchema", dict, path)
    tool = FunctionTool(required(wire, "name", str, path), optional(wire, "description", str, path), schema)
    changes = difference(wire, _declaration(tool))
    return replace(tool, opaque={FAMILY: changes}) if changes else tool


def _declaration(tool: FunctionTool) -> Members:
    members = {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}
    return {name: value for name, value in members.items() if value is not None}


_FUNCTIONS: Final = (FunctionTool, CustomTool)


def encode_tools(tools: Sequence[Tool], losses: Losses) -> list[Members]:
    """The `tools` member: each run of functions as one tool."""
    wire: list[Members] = []
    for is_function, run in groupby(enumerate(tools), lambda entry: isinstance(entry[1], _FUNCTIONS)):
        encoded = [_encode_tool(tool, losses, f"tools[{index}]") for index, tool in run]
        members = [member for member in encoded if member is not None]
        wire += [{"functionDeclarations": members}] if is_function else members
    return wire


def _encode_tool(tool: Tool, losses: Losses, what: str) -> Members | None:
    if isinstance(tool, Unknown):
        if tool.wire != NAME:
            losses.add(what, f"A tool only the {tool.wire} format knows.")
            return None
        return dict(tool.data)
    losses.foreign(f"{what}.opaque", tool.opaque)
    if isinstance(tool, CustomTool):
        return _declaration(as_function(tool, losses.add, what))
    if tool.strict:
        losses.add(f"{what}.strict", "Gemini holds calls to their schemas for all tools or none (mode VALIDATED).")
    return apply(_declaration(tool), own(tool.opaque))


_MODES: Final[Mapping[str, Literal["auto", "required", "none"]]] = {
    "AUTO": "auto",
    "VALIDATED": "auto",
    "ANY": "required",
    "NONE": "none",
}
_MODE_WORDS: Final = {"auto": "AUTO", "required": "ANY", "tool": "ANY", "none": "NONE"}


def _decode_tool_choice(body: Members) -> ToolChoice | None:
    """Of `toolConfig.functionCallingConfig`; a mode this version does not know is left to the provider options."""
    path = "toolConfig.functionCallingConfig"
    config = optional(optional(body, "toolConfig", dict, "") or {}, "functionCallingConfig", dict, "toolConfig")
    if config is None:
        return None
    mode = _MODES.get((optional(config, "mode", str, path) or "").upper())
    allowed = optional(config, "allowedFunctionNames", list, path) or []
    if mode == "required" and len(allowed) == 1 and type(allowed[0]) is str:
        return ToolChoice("tool", allowed[0])
    return None if mode is None else ToolChoice(mode)


def _encode_tool_choice(choice: ToolChoice | None, tools: Sequence[Tool], losses: Losses) -> Members:
    """The `toolConfig` member, left out where there is no function: Gemini refuses it then."""
    if choice is None:
        return {}
    if choice.parallel is False:
        losses.add("tool_choice.parallel", "Gemini cannot be kept from calling several functions at once.")
    if not any(isinstance(tool, _FUNCTIONS) for tool in tools):
        if choice.mode in ("required", "tool"):
            losses.add("tool_choice", "There is no function to choose.")
        return {}
    config: Members = {"mode": _MODE_WORDS[choice.mode]}
    if choice.mode == "tool":
        config["allowedFunctionNames"] = [choice.name]
    return {"toolConfig": {"functionCallingConfig": config}}


_COUNTS: Final = {"max_tokens": "maxOutputTokens", "top_k": "topK", "seed": "seed", "choices": "candidateCount"}
_NUMBERS: Final = {
    "temperature": "temperature",
    "top_p": "topP",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}


def _decode_sampling(config: Members) -> Sampling:
    stops = optional(config, "stopSequences", list, CONFIG) or []
    for index, sequence in enumerate(stops):
        if type(sequence) is not str:
            raise WireError(f"{CONFIG}.stopSequences.{index}", "Input should be a string")
    values: dict[str, Any] = {field: integer(config, name, CONFIG) for field, name in _COUNTS.items()}
    values |= {field: number(config, name, CONFIG) for field, name in _NUMBERS.items()}
    return Sampling(stop_sequences=tuple(stops), **values)


def _encode_sampling(sampling: Sampling) -> Members:
    config = {name: getattr(sampling, field) for field, name in {**_COUNTS, **_NUMBERS}.items()}
    config["stopSequences"] = list(sampling.stop_sequences) or None
    return {name: value for name, value in config.items() if value is not None}


_LEVELS: Final = {
    **{level: level.upper() for level in ("minimal", "low", "medium", "high")},
    "xhigh": "HIGH",
    "max": "HIGH",
}


def _decode_reasoning(config: Members) -> ReasoningWish | None:
    wish = optional(config, "thinkingConfig", dict, CONFIG) or {}
    budget = integer(wish, "thinkingBudget", f"{CONFIG}.thinkingConfig")
    level = optional(wish, "thinkingLevel", str, f"{CONFIG}.thinkingConfig")
    if budget is not None:
        # -1 leaves the budget to the model. Source: Gemini API, Thinking.
        return ReasoningWish(budget_tokens=budget) if budget > 0 else ReasoningWish(enabled=budget < 0)
    return ReasoningWish(effort=level.lower()) if level is not None and level.lower() in _LEVELS else None


def _encode_reasoning(wish: ReasoningWish | None, losses: Losses) -> Members:
    """`thinkingConfig`. Who asks for thinking gets to see it, as the other formats have it."""
    if wish is None or wish == ReasoningWish():
        return {}
    if wish.enabled is False or wish.effort == "none":
        return {"thinkingConfig": {"thinkingBudget": 0}}
    if wish.effort is None:
        budget = -1 if wish.budget_tokens is None else wish.budget_tokens
        return {"thinkingConfig": {"thinkingBudget": budget, "includeThoughts": True}}
    level = _LEVELS.get(wish.effort)
    if level is None or level.lower() != wish.effort:
        losses.add("reasoning.effort", f"Gemini has no level {wish.effort!r}; sent: {level or 'none'}.")
    return {"thinkingConfig": {"thinkingLevel": level, "includeThoughts": True}} if level else {}


_JSON: Final = "application/json"
_MEDIA_TYPES: Final = {"text": "text/plain", "json_object": _JSON}


def _decode_format(config: Members) -> ResponseFormat | None:
    media_type = optional(config, "responseMimeType", str, CONFIG)
    schema = optional(config, "responseJsonSchema", dict, CONFIG)
    if media_type == _JSON:
        return ResponseFormat("json_object") if schema is None else ResponseFormat("json_schema", schema)
    return ResponseFormat("text") if media_type == "text/plain" and schema is None else None


def _encode_format(wish: ResponseFormat | None, losses: Losses) -> Members:
    if wish is None:
        return {}
    for name in ("name", "description"):
        if getattr(wish, name) is not None:
            losses.add(f"response_format.{name}", "Gemini's output format is the schema alone.")
    if wish.strict is False:
        losses.add("response_format.strict", "Gemini always holds the answer to the schema.")
    schema: Json = None if wish.kind != "json_schema" or wish.schema is None else dict(wish.schema)
    config = {"responseMimeType": _MEDIA_TYPES.get(wish.kind, _JSON), "responseJsonSchema": schema}
    return {name: value for name, value in config.items() if value is not None}
