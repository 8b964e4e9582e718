"""OpenAI's manners around the Responses API: those of chat completions, but for ids, echoes and events.

Source: platform.openai.com, API reference: the response object, streaming events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any, Final

import msgspec

from waypost.chat import Choice, FinishReason, Json, Opaque, Part, Reasoning, Refusal, Response, Text, ToolCall
from waypost.codecs.codec import Codec
from waypost.codecs.openai_responses import codec
from waypost.codecs.sse import encode_event
from waypost.simulator.details import Detail
from waypost.simulator.dialect import Broken, Context, Ids, ProviderFields, WireError, dump
from waypost.simulator.openai_dialect import OpenAIDialect
from waypost.simulator.script import DialectName

_FAMILY: Final = "openai_responses"
_ENCRYPTED: Final = "reasoning.encrypted_content"
ID_LENGTH: Final = 50
_ITEM_PREFIXES: Final[Mapping[type[Part], str]] = {Text: "msg_", Refusal: "msg_", Reasoning: "rs_", ToolCall: "fc_"}

DEFAULTS: Final[Mapping[str, Json]] = {
    "background": False,
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""What a response repeats of its request, and what stands there if the request does not say."""
_FUNCTION: Final = {"description": None, "parameters": None, "strict": True}
"""What a function says if the request does not."""
_NOT_ECHOED: Final = ("service_tier",)
"""The answer's own."""


class ResponsesDialect(OpenAIDialect):
    """`POST /v1/responses`."""

    name: DialectName = "openai_responses"
    codec: Codec = codec
    refusal_reason: FinishReason = "stop"
    details: Detail | None = None
    tells_opaque_first = True

    def response_id(self, ids: Ids) -> str:
        """`resp_…`."""
        return ids.hexadecimal("resp_", ID_LENGTH)

    def error_event(self, error: WireError, broken: Broken) -> bytes:
        """An event named `error`, or a response that failed; numbered as the others are."""
        if broken.in_response and broken.first:
            return self._failed(error, broken)
        told = {
            "type": "error",
            "sequence_number": broken.number,
            "code": error.code or error.type,
            "message": error.message,
            "param": error.param,
        }
        return encode_event(dump(told), event="error")

    def _failed(self, error: WireError, broken: Broken) -> bytes:
        begun = msgspec.json.decode(broken.first.partition(b"data: ")[2])["response"]
        told = {
            "type": "response.failed",
            "sequence_number": broken.number,
            "response": {
                **begun,
                "status": "failed",
                "error": {"code": error.code or error.type, "message": error.message},
            },
        }
        return encode_event(dump(told), event="response.failed")

    def told(self, response: Response, context: Context, ids: Ids) -> Response:
        """With ids for the items and what is repeated of the request; thinking as far as its summary is wanted."""
        return replace(
            response,
            choices=tuple(_with_items(choice, context, ids) for choice in response.choices[:1]),
            provider_fields={_FAMILY: {"response": {**_echoes(context.body), "completed_at": response.created}}},
        )

    def first_fields(self, response: Response) -> ProviderFields:
        """A response that has begun was not completed yet."""
        return {_FAMILY: {"response": {**response.provider_fields[_FAMILY]["response"], "completed_at": None}}}

    def reasoning_opaque(self, ids: Ids) -> Opaque:  # noqa: ARG002 - `told` gives the ids
        """Nothing yet."""
        return {}


def _with_items(choice: Choice, context: Context, ids: Ids) -> Choice:
    parts: list[Part] = []
    # Texts that follow one another are pieces of one message; every other part is an item of its own.
    for number, (_, run) in enumerate(groupby(enumerate(choice.parts), _item_key)):
        parts += [_with_id(part, number, context, ids) for _, part in run]
    return replace(choice, parts=tuple(parts), stop_sequence=None)


def _item_key(entry: tuple[int, Part]) -> int:
    place, part = entry
    return -1 if isinstance(part, Text | Refusal) else place


def _with_id(part: Part, number: int, context: Context, ids: Ids) -> Part:
    prefix = _ITEM_PREFIXES.get(type(part))
    if prefix is None:
        return part
    if isinstance(part, ToolCall) and part.kind == "custom":
        prefix = "ctc_"
    own: dict[str, Any] = {"id": ids.hexadecimal(prefix, ID_LENGTH, number)}
    known: Any = part
    if isinstance(part, Reasoning):
        wish = context.body.get("reasoning")
        if context.invented and not (isinstance(wish, Mapping) and wish.get("summary")):
            known = replace(part, text="")
        if _ENCRYPTED in (context.body.get("include") or ()):
            own["item"] = {"encrypted_content": ids.make("gAAAAA", 58, number)}
    told: Part = replace(known, opaque={_FAMILY: own})
    return told


def _echoes(body: Mapping[str, Json]) -> dict[str, Json]:
    said = {name: value for name, value in body.items() if name in DEFAULTS and name not in _NOT_ECHOED}
    members = {**DEFAULTS, **{name: value for name, value in said.items() if value is not None}}
    members["tools"] = [_FUNCTION | tool if tool.get("type") == "function" else tool for tool in members["tools"]]
    reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
    return {
        **members,
        "reasoning": {"effort": None, "summary": None, **reasoning},
        "text": {"format": {"type": "text"}, "verbosity": "medium", **text},
    }


RESPONSES: Final = ResponsesDialect()
