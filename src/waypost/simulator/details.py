"""What providers write beside what an answer says: members that are null, counts of 0, marks of their own.

Codecs leave these out, since they mean nothing; readers of the real thing meet them in every answer, and a gateway that
warns of them or trips over them does so here already. Source: each vendor's API reference and OpenAPI description.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from waypost.chat import Json, Response

Members: TypeAlias = dict[str, Json]
Detail: TypeAlias = Callable[[Members, Response], None]
"""Adds to one JSON object, the whole body or the data of one event, of that answer."""


def with_details(body: bytes, response: Response, detail: Detail | None) -> bytes:
    """The body of an answer with what it lacks."""
    if detail is None:
        return body
    value = msgspec.json.decode(body)
    detail(value, response)
    return msgspec.json.encode(value)


def event_with_details(event: bytes, response: Response, detail: Detail | None) -> bytes:
    """The event, whose data is JSON or OpenAI's last word, with what it lacks."""
    if detail is None:
        return event
    start, end = event.find(b"{"), event.rstrip().rfind(b"}") + 1
    if start < 0:
        return event
    return event[:start] + with_details(event[start:end], response, detail) + event[end:]


def _fill(value: Json, lacking: Mapping[str, Json]) -> None:
    """Add the members that the object does not have; within objects too."""
    if not isinstance(value, dict):
        return
    for name, given in lacking.items():
        if isinstance(given, dict) and isinstance(value.get(name), dict):
            _fill(value[name], given)
        else:
            value.setdefault(name, copy.deepcopy(given))


_OPENAI_USAGE: Final = {
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


def openai_details(value: Members, response: Response) -> None:
    """Tier and fingerprint in every answer and chunk, annotations in every message, zeros among the counts."""
    _fill(value, {"service_tier": "default", "system_fingerprint": f"fp_{response.id[-10:].lower()}"})
    _fill(value.get("usage"), _OPENAI_USAGE)
    for choice in value.get("choices") or ():
        _fill(choice.get("message"), {"refusal": None, "annotations": []})
        if choice.get("delta", {}).get("role"):
            _fill(choice["delta"], {"refusal": None})


_ANTHROPIC_COUNTS: Final = {
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens_details": None,
    "server_tool_use": None,
}
_ANTHROPIC_USAGE: Final = {
    **_ANTHROPIC_COUNTS,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "inference_geo": "not_available",
    "service_tier": "standard",
}
_ANTHROPIC_BLOCKS: Final[Mapping[str, Mapping[str, Json]]] = {
    "text": {"citations": None},
    "tool_use": {"caller": {"type": "direct"}},
}


def anthropic_details(value: Members, response: Response) -> None:  # noqa: ARG001 - the same for every answer
    """Of a message, or of an event with a message, a block or the end's counts in it."""
    message = value if value.get("type") == "message" else value.get("message")
    if isinstance(message, dict):
        _fill(message, {"stop_details": None, "container": None})
        _fill(message.get("usage"), _ANTHROPIC_USAGE)
        for block in message.get("content") or ():
            _fill(block, _ANTHROPIC_BLOCKS.get(block.get("type"), {}))
    if value.get("type") == "message_delta":
        _fill(value.get("delta"), {"stop_details": None, "container": None})
        _fill(value.get("usage"), _ANTHROPIC_COUNTS)
    block = value.get("content_block")
    if isinstance(block, dict):
        _fill(block, _ANTHROPIC_BLOCKS.get(block.get("type", ""), {}))


def gemini_details(value: Members, response: Response) -> None:
    """Counts in every chunk, of the prompt until the answer's are known."""
    prompt = response.usage.input_tokens
    counts: dict[str, Any] = {
        "promptTokenCount": prompt,
        "totalTokenCount": prompt,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    value.setdefault("usageMetadata", counts)
