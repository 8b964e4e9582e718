"""What an answer says besides the answer, where the caller's format wants it: his own settings again, and nulls.

Vendors' schemas require these members, and strict readers check for them. Only answers that are translated get them: a
provider of the caller's own format writes its own. The invariant: a fact that is not known is null, where the schema
has null; a setting that the caller left out is the vendor's default. Source: the vendors' OpenAPI descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from waypost.chat import Json, Opaque, Part, Refusal, Request, Response, Text, ToolCall
from waypost.providers.asked import Asked

ProviderFields: TypeAlias = Mapping[str, Mapping[str, Json]]

_RESPONSES_DEFAULTS: Final[Mapping[str, Json]] = {
    "completed_at": None,
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
}
_NOT_STORED: Final[Mapping[str, Json]] = {"background": False, "previous_response_id": None, "store": False}
"""What nobody stores. An answer that is stored is told so by `keeping`."""
_FUNCTION: Final[Mapping[str, Json]] = {"description": None, "parameters": None, "strict": None}

ANTHROPIC_FIELDS: Final[ProviderFields] = {
    "anthropic": {
        "stop_details": None,
        "container": None,
        "usage": dict.fromkeys(
            (
                "cache_creation",
                "cache_creation_input_tokens",
                "cache_read_input_tokens",
                "inference_geo",
                "output_tokens_details",
                "server_tool_use",
                "service_tier",
            )
        ),
    }
}
DIRECT: Final[Json] = {"type": "direct"}
"""The `caller` of a call that the model itself made, and no tool of the provider's."""
ANTHROPIC_OPAQUE: Final[Mapping[type[Part], Opaque]] = {
    Text: {"anthropic": {"citations": None}},
    Refusal: {"anthropic": {"citations": None}},
    ToolCall: {"anthropic": {"caller": DIRECT}},
}


def nothing(_asked: Asked) -> ProviderFields:
    """For formats that want nothing."""
    return {}


def anthropic_fields(_asked: Asked) -> ProviderFields:
    """The same for every message."""
    return ANTHROPIC_FIELDS


def responses_fields(asked: Asked) -> ProviderFields:
    """The request's settings, as a response repeats them."""
    asked_for = asked.written.seen.members if asked.written is not None else {}
    said = {name: value for name, value in asked_for.items() if name in _RESPONSES_DEFAULTS and value is not None}
    members: dict[str, Any] = {**_RESPONSES_DEFAULTS, **said, **_NOT_STORED}
    # The tier that served is not known: the one that was asked for may not have.
    members["service_tier"] = _RESPONSES_DEFAULTS["service_tier"]
    members["tools"] = [_whole_tool(tool) for tool in members["tools"]]
    members["reasoning"] = {"effort": None, "summary": None, **_object(asked_for, "reasoning")}
    members["text"] = {"format": {"type": "text"}, **_object(asked_for, "text")}
    return {"openai_responses": {"response": members}}


def beside(told: ProviderFields, wanted: ProviderFields) -> ProviderFields:
    """Both; what the provider told comes first."""
    if not wanted:
        return told
    return {**told, **{family: _joined(told.get(family, {}), members) for family, members in wanted.items()}}


def response_beside(response: Response, opaque: Mapping[type[Part], Opaque]) -> Response:
    """The answer with what its parts say besides."""
    if not opaque:
        return response
    choices = tuple(
        replace(choice, parts=tuple(part_beside(part, opaque) for part in choice.parts)) for choice in response.choices
    )
    return replace(response, choices=choices)


def part_beside(part: Part, opaque: Mapping[type[Part], Opaque]) -> Part:
    """One part, with what parts of its kind say besides; what the provider told comes first."""
    wanted = opaque.get(type(part))
    if wanted is None or not isinstance(part, Text | Refusal | ToolCall):
        return part
    return replace(part, opaque=beside(part.opaque, wanted))


def without_direct_callers(request: Request) -> Request:
    """The request without what its tool calls were told to say besides, and say again: it means nothing elsewhere."""
    messages = tuple(
        replace(message, parts=tuple(_without_direct_caller(part) for part in message.parts))
        if any(isinstance(part, ToolCall) and part.opaque for part in message.parts)
        else message
        for message in request.messages
    )
    return replace(request, messages=messages)


def _without_direct_caller(part: Part) -> Part:
    if not isinstance(part, ToolCall) or part.opaque.get("anthropic", {}).get("caller") != DIRECT:
        return part
    own = {name: value for name, value in part.opaque["anthropic"].items() if name != "caller"}
    others = {family: data for family, data in part.opaque.items() if family != "anthropic"}
    return replace(part, opaque={**others, "anthropic": own} if own else others)


def _joined(told: Mapping[str, Json], wanted: Mapping[str, Json]) -> Mapping[str, Json]:
    """Objects are joined member by member."""
    joined: dict[str, Json] = {**wanted, **told}
    for name, value in wanted.items():
        own = told.get(name)
        if isinstance(value, Mapping) and isinstance(own, Mapping):
            joined[name] = {**value, **own}
    return joined


def _object(members: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    value = members.get(name)
    return value if isinstance(value, Mapping) else {}


def _whole_tool(tool: Json) -> Json:
    return {**_FUNCTION, **tool} if isinstance(tool, Mapping) and tool.get("type") == "function" else tool
