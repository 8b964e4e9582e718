"""The four dialects from a client's side: where to ask, with what headers and body, and how a stream looks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from waypost.codecs import anthropic_messages, gemini, openai_chat, openai_responses
from waypost.codecs.codec import Codec


@dataclass(frozen=True)
class Dialect:
    """One of them. `error_shape` is the keys of an error's body, at the top and within `error`."""

    codec: Codec
    headers: Mapping[str, str]
    terminal: bytes
    error_shape: tuple[frozenset[str], frozenset[str]]
    overloaded: int


def _shape(top: Sequence[str], within: Sequence[str]) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(top), frozenset(within)


_OPENAI_SHAPE: Final = _shape(["error"], ["message", "type", "param", "code"])

DIALECTS: Final[Mapping[str, Dialect]] = {
    "openai": Dialect(openai_chat.codec, {"authorization": "Bearer any"}, b"data: [DONE]\n\n", _OPENAI_SHAPE, 503),
    "openai_responses": Dialect(
        openai_responses.codec,
        {"authorization": "Bearer any"},
        b"event: response.completed\n",
        _OPENAI_SHAPE,
        503,
    ),
    "anthropic": Dialect(
        anthropic_messages.codec,
        {"x-api-key": "any", "anthropic-version": "2023-06-01"},
        b"event: message_stop\n",
        _shape(["type", "error", "request_id"], ["type", "message"]),
        529,
    ),
    "gemini": Dialect(
        gemini.codec,
        {"x-goog-api-key": "any"},
        b'"finishReason":',
        _shape(["error"], ["code", "message", "status"]),
        503,
    ),
}
NAMES: Final = list(DIALECTS)
CHAT_PATHS: Final = {
    "openai": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic": "/v1/messages",
}


def path_of(dialect: str, model: str = "simulated", *, stream: bool = False) -> str:
    """The path and query to ask at."""
    if dialect != "gemini":
        return CHAT_PATHS[dialect]
    return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")


def body_of(
    dialect: str, turns: str | Sequence[tuple[str, str]], *, model: str = "simulated", stream: bool = False
) -> dict[str, Any]:
    """The body of a conversation: what a user says, or turns of (role, text), role `user` or `assistant`."""
    said = [("user", turns)] if isinstance(turns, str) else list(turns)
    if dialect == "gemini":
        roles = {"user": "user", "assistant": "model"}
        return {
            "contents": [{"role": roles[role], "parts": [{"text": text}]} for role, text in said],
            "generationConfig": {"maxOutputTokens": 500},
        }
    messages = [{"role": role, "content": text} for role, text in said]
    if dialect == "openai_responses":
        return {"model": model, "input": messages, "stream": stream, "max_output_tokens": 500}
    return {"model": model, "messages": messages, "stream": stream, "max_tokens": 500}


def events_of(stream: bytes) -> list[bytes]:
    """The whole events in the bytes of a stream, with LF as the end of a line."""
    return [event for event in stream.replace(b"\r\n", b"\n").split(b"\n\n") if event]


def is_whole(event: bytes) -> bool:
    """Is the event's data JSON, or OpenAI's last word?"""
    data = event.rpartition(b"data: ")[2]
    try:
        return data.strip() == b"[DONE]" or bool(json.loads(data))
    except json.JSONDecodeError:
        return False
