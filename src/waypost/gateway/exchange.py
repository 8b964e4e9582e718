"""What was asked and answered, in the form that spans have it, where the settings want it. For the sender's thread.

The invariant: what comes out has lost its secrets and media by the rules of stored bodies, and has an end. What cannot
be read, such as an answer that broke off, is told as the text that it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import msgspec

from waypost.chat import Part, Reasoning, Request, Response, Text, ToolCall, ToolResult
from waypost.chat.collect import collect
from waypost.codecs.codec import Codec
from waypost.codecs.sse import SseDecoder
from waypost.errors import WaypostError
from waypost.ledger.redaction import LIMIT_BYTES, redacted
from waypost.providers.asked import Asked
from waypost.telemetry.facts import Door

CODECS: Final[Mapping[Door, str]] = {
    "openai_chat": "waypost.codecs.openai_chat",
    "openai_responses": "waypost.codecs.openai_responses",
    "anthropic_messages": "waypost.codecs.anthropic_messages",
    "gemini": "waypost.codecs.gemini",
}
"""In which format each door answers; what others answer is told as text."""


@dataclass(slots=True)
class Exchange:
    """Of one request. Implements `telemetry.facts.Content`. `reply` is the beginning of a long one."""

    asked: Asked | None = None
    reply: bytes = b""
    door: Door = "other"

    @property
    def size_bytes(self) -> int:
        """How much memory it holds, about."""
        return len(self.reply) + (0 if self.asked is None else self.asked.size_bytes)

    def told(self) -> tuple[str, str]:
        """Messages in and out, as JSON by the conventions' schemas; empty where there is none."""
        return _json(self._inputs()), _json(self._outputs())

    def _inputs(self) -> list[dict[str, Any]]:
        asked = self.asked
        if asked is None:
            return []
        try:
            return _messages(asked.request)
        except WaypostError:
            written = b"" if asked.written is None else asked.written.body
            return [_message("user", [_text(written.decode("utf-8", "replace"))])]

    def _outputs(self) -> list[dict[str, Any]]:
        module = CODECS.get(self.door)
        if not self.reply:
            return []
        if module is not None:
            try:
                return _choices(_decoded(import_module(module).codec, self.reply, self.asked))
            except Exception:  # noqa: BLE001, S110 - whatever a broken answer does to a codec, it is told as it is
                pass
        return [_message("assistant", [_text(self.reply.decode("utf-8", "replace"))])]


def _decoded(codec: Codec, reply: bytes, asked: Asked | None) -> Response:
    if reply.lstrip()[:1] == b"{":
        return codec.decode_response(reply)
    decoder = codec.stream_decoder(choices=1 if asked is None else asked.choices)
    events = [event for wire in SseDecoder().feed(reply) for event in decoder.feed(wire)]
    return collect([*events, *decoder.finish()])


def _messages(request: Request) -> list[dict[str, Any]]:
    return [_message(each.role, [_part(part) for part in each.parts]) for each in request.messages]


def _choices(response: Response) -> list[dict[str, Any]]:
    return [
        {**_message("assistant", [_part(part) for part in choice.parts]), "finish_reason": choice.reason}
        for choice in response.choices
    ]


def _message(role: str, parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return _text(part.text)
        case Reasoning():
            return {"type": "reasoning", "content": part.text}
        case ToolCall():
            return {"type": "tool_call", "id": part.call_id, "name": part.name, "arguments": part.arguments}
        case ToolResult():
            texts = [each.text for each in part.parts if isinstance(each, Text)]
            return {"type": "tool_call_response", "id": part.call_id, "result": "\n".join(texts)}
        case _:
            return {"type": type(part).__name__.lower()}


def _json(messages: list[dict[str, Any]]) -> str:
    return redacted(msgspec.json.encode(messages), LIMIT_BYTES) if messages else ""
