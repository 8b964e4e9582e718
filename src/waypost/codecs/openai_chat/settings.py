"""The settings of a request beside its messages, both ways: tools, tool choice, sampling, reasoning, output format."""

from __future__ import annotations

from typing import Final

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
from waypost.codecs.openai_chat.dialect import FAMILY, WIRE, Dialect, Losses, graft, opaque_of
from waypost.codecs.openai_chat.fields import Fields, refuse

EFFORT_OF_BUDGET: Final = ((2048, "low"), (8192, "medium"))
"""The effort that stands in for a budget of up to so many tokens; "high" beyond the last."""

DEFAULT_SCHEMA_NAME: Final = "response"


def decode_tools(body: Fields) -> tuple[Tool, ...]:
    """`tools`. A tool that is no function is kept whole."""
    values = body.array_or_none("tools") or []
    return tuple(_decode_tool(value, f"tools[{index}]") for index, value in enumerate(values))


def _decode_tool(value: Json, path: str) -> Tool:
    tool = Fields(value, path)
    kind = tool.text("type")
    if kind == "custom":
        return _decode_custom(tool)
    if kind != "function":
        return Unknown(WIRE, value)
    inner = tool.inner("function")
    known = FunctionTool(
        inner.text("name"),
        inner.text_or_none("description"),
        inner.mapping_or_none("parameters"),
        inner.flag_or_none("strict"),
    )
    nested = inner.rest()
    extras = {**tool.rest(), **({"function": nested} if nested else {})}
    return FunctionTool(known.name, known.description, known.parameters, known.strict, opaque_of(extras))


def _decode_custom(tool: Fields) -> CustomTool:
    inner = tool.inner("custom")
    name, description, form = inner.text("name"), inner.text_or_none("description"), inner.mapping_or_none("format")
    grammar = form.get("grammar") if form is not None else None
    if form is not None and isinstance(grammar, dict) and form.keys() == {"type", "grammar"}:
        form = {**grammar, "type": form["type"]}
    nested = inner.rest()
    return CustomTool(name, description, form, opaque_of({**tool.rest(), **({"custom": nested} if nested else {})}))


def decode_tool_choice(body: Fields, options: dict[str, Json]) -> ToolChoice | None:
    """`tool_choice` and `parallel_tool_calls`. A choice only this format has goes to `options`."""
    parallel = body.flag_or_none("parallel_tool_calls")
    value = body.take("tool_choice")
    if value == "auto" or value == "none" or value == "required":
        return ToolChoice(value, parallel=parallel)
    if value is not None and not isinstance(value, dict):
        refuse("tool_choice", 'must be "auto", "none", "required" or an object that names a function')
    if value is not None:
        choice = Fields(value, "tool_choice")
        kind = choice.text("type")
        if kind in ("function", "custom"):
            return ToolChoice("tool", choice.inner(kind).text("name"), parallel)
        options["tool_choice"] = value
    return None if parallel is None else ToolChoice("auto", parallel=parallel)


def encode_tools(request: Request, dialect: Dialect, losses: Losses) -> dict[str, Json]:
    """`tools`, `tool_choice` and `parallel_tool_calls`, where they are set."""
    tools = [encoded for tool in request.tools if (encoded := _encode_tool(tool, dialect, losses)) is not None]
    choice = request.tool_choice
    if not tools:
        if choice is not None:
            losses.add("tool_choice", "it is refused where there are no tools")
        return {}
    wire: dict[str, Json] = {"tools": tools}
    if choice is not None:
        kind = "custom" if dialect.custom_tools and names_custom(choice, request) else "function"
        named = {"type": kind, kind: {"name": choice.name}}
        wire["tool_choice"] = named if choice.mode == "tool" else choice.mode
        if choice.parallel is not None:
            wire["parallel_tool_calls"] = choice.parallel
    return wire


def names_custom(choice: ToolChoice, request: Request) -> bool:
    """Is the tool that must be called one that is called with plain text?"""
    return any(isinstance(tool, CustomTool) and tool.name == choice.name for tool in request.tools)


def _encode_tool(tool: Tool, dialect: Dialect, losses: Losses) -> dict[str, Json] | None:
    if isinstance(tool, Unknown):
        if tool.wire == WIRE:
            return dict(tool.data)
        losses.add(f"tools.{tool.wire}", f"only {tool.wire} has such a tool")
        return None
    if isinstance(tool, CustomTool):
        if dialect.custom_tools:
            return _encode_custom(tool, losses)
        tool = as_function(tool, losses.add, "tools.custom")
    function: dict[str, Json] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
    present = {name: value for name, value in function.items() if value is not None}
    return graft({"type": "function", "function": present}, losses.own(tool.opaque))


def _encode_custom(tool: CustomTool, losses: Losses) -> dict[str, Json]:
    form = tool.format
    if form is not None and form.get("type") == "grammar":
        form = {"type": "grammar", "grammar": {name: value for name, value in form.items() if name != "type"}}
    custom = {"name": tool.name, "description": tool.description, "format": form}
    present = {name: value for name, value in custom.items() if value is not None}
    return graft({"type": "custom", "custom": present}, losses.own(tool.opaque))


def decode_sampling(body: Fields) -> Sampling:
    """How tokens are chosen and when to stop. Of two limits the newer name wins."""
    newer, older = (body.integer_or_none(name, least=1) for name in ("max_completion_tokens", "max_tokens"))
    return Sampling(
        max_tokens=older if newer is None else newer,
        temperature=body.number_or_none("temperature"),
        top_p=body.number_or_none("top_p"),
        top_k=body.integer_or_none("top_k"),
        stop_sequences=_decode_stop(body),
        seed=body.integer_or_none("seed", least=-(2**63), most=2**64),
        presence_penalty=body.number_or_none("presence_penalty"),
        frequency_penalty=body.number_or_none("frequency_penalty"),
        choices=body.integer_or_none("n", least=1),
    )


def _decode_stop(body: Fields) -> tuple[str, ...]:
    value = body.take("stop")
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        refuse("stop", "must be a string or a list of strings")
    for index, item in enumerate(value):
        if not isinstance(item, str):
            refuse(f"stop[{index}]", "must be a string")
    return tuple(value)


def encode_sampling(sampling: Sampling, dialect: Dialect, losses: Losses) -> dict[str, Json]:
    """The settings that are set, under the names the dialect has for them."""
    if sampling.top_k is not None and not dialect.top_k:
        losses.add("sampling.top_k", "OpenAI's chat API has no such setting")
    wire: dict[str, Json] = {
        dialect.max_tokens_field: sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k if dialect.top_k else None,
        "stop": list(sampling.stop_sequences) or None,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "n": sampling.choices,
    }
    return {name: value for name, value in wire.items() if value is not None}


def decode_reasoning(body: Fields) -> ReasoningWish | None:
    """`reasoning_effort`."""
    effort = body.text_or_none("reasoning_effort")
    return None if effort is None else ReasoningWish(effort=effort)


def encode_reasoning(wish: ReasoningWish | None, losses: Losses) -> dict[str, Json]:
    """`reasoning_effort`, the only wish the format has."""
    if wish is None:
        return {}
    if wish.effort is not None:
        return {"reasoning_effort": wish.effort}
    if wish.budget_tokens is not None:
        budget = wish.budget_tokens
        effort = next((effort for limit, effort in EFFORT_OF_BUDGET if budget <= limit), "high")
        losses.add("reasoning.budget_tokens", f"sent as the effort {effort}")
        return {"reasoning_effort": effort}
    if wish.enabled is False:
        losses.add("reasoning.enabled", "sent as the effort none")
        return {"reasoning_effort": "none"}
    if wish.enabled:
        losses.add("reasoning.enabled", "the format takes an effort; the model's default holds")
    return {}


def decode_response_format(body: Fields, options: dict[str, Json]) -> ResponseFormat | None:
    """`response_format`. A form this version does not know goes to `options`."""
    value = body.mapping_or_none("response_format")
    if value is None:
        return None
    outer = Fields(value, "response_format")
    kind = outer.take("type")
    known: ResponseFormat | None = None
    inner: dict[str, Json] = {}
    if kind == "text" or kind == "json_object":
        known = ResponseFormat(kind)
    elif kind == "json_schema":
        schema = outer.inner("json_schema")
        known = ResponseFormat(
            kind,
            schema.mapping_or_none("schema"),
            schema.text_or_none("name"),
            schema.text_or_none("description"),
            schema.flag_or_none("strict"),
        )
        inner = schema.rest()
    if known is None or outer.rest() or inner:
        options["response_format"] = value
        return None
    return known


def encode_response_format(form: ResponseFormat | None) -> dict[str, Json]:
    """`response_format`; a schema without a name, which the API demands, gets one."""
    if form is None:
        return {}
    if form.kind != "json_schema":
        return {"response_format": {"type": form.kind}}
    schema = {
        "name": form.name or DEFAULT_SCHEMA_NAME,
        "description": form.description,
        "schema": form.schema,
        "strict": form.strict,
    }
    present = {name: value for name, value in schema.items() if value is not None}
    return {"response_format": {"type": "json_schema", "json_schema": present}}


def end_user(body: Fields, options: dict[str, Json]) -> str | None:
    """`safety_identifier`, or the older `user`, which goes to `options` where both are set."""
    newer, older = body.text_or_none("safety_identifier"), body.text_or_none("user")
    if newer is not None and older is not None:
        options["user"] = older
    return older if newer is None else newer


def own_options(request: Request, losses: Losses) -> dict[str, Json]:
    """This family's own options; every other family's are noted as lost."""
    for family, options in request.provider_options.items():
        if family != FAMILY:
            for name in options:
                losses.add(f"provider_options.{family}.{name}", f"only {family} understands it")
    return dict(request.provider_options.get(FAMILY, {}))
