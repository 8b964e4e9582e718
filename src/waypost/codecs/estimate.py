"""How many tokens a prompt may have, for providers that cannot count: an estimate, never a count.

Text is weighed by its scripts, told apart by the first byte of each character's UTF-8, with what current vocabularies
of 100,000 to 260,000 tokens need on average: within a quarter for prose and code of some length, worse for a few words.
No vocabulary is loaded, and the time is that of a few passes over the bytes. The invariants: more text is never fewer
tokens, and text that is not empty is at least one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from waypost.chat import (
    CustomTool,
    InlineData,
    Media,
    Message,
    Part,
    Reasoning,
    Refusal,
    Request,
    ServerTool,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Unknown,
)
from waypost.chat.parts import Json
from waypost.codecs.jsonbytes import dump

WEIGHTS: Final[tuple[tuple[str, bytes, float], ...]] = (
    ("letters", bytes([*range(0x41, 0x5B), *range(0x61, 0x7B)]), 0.25),
    ("digits", bytes(range(0x30, 0x3A)), 0.4),
    ("punctuation", bytes([*range(0x21, 0x30), *range(0x3A, 0x41), *range(0x5B, 0x61), *range(0x7B, 0x7F)]), 0.6),
    ("line ends and controls", bytes([*range(0x20), 0x7F]), 0.4),
    ("spaces", b" ", 0.03),
    ("accented Latin", bytes(range(0xC2, 0xCE)), 0.6),
    ("Greek and Cyrillic", bytes(range(0xCE, 0xD4)), 0.4),
    ("Armenian, Hebrew, Arabic", bytes(range(0xD4, 0xE0)), 0.45),
    ("scripts of India and Thai", b"\xe0", 0.55),
    ("Georgian, Khmer and their like", b"\xe1", 0.9),
    ("symbols", b"\xe2", 1.0),
    ("kana, Han and Hangul", bytes(range(0xE3, 0xEE)), 0.8),
    ("forms of other characters", b"\xee\xef", 1.0),
    ("emoji and rare scripts", bytes(range(0xF0, 0xF5)), 2.2),
)
"""Kinds of characters, by the byte that each begins with, and the tokens that one is on average."""

MESSAGE_TOKENS: Final = 4
"""What marks a turn's role and borders."""
TOOL_TOKENS: Final = 8
"""What a tool's declaration has beside its name, description and schema."""
MEDIA_TOKENS: Final[Mapping[str, int]] = {"image": 1_100, "audio": 1_000, "document": 2_000}
"""An image of about a megapixel, half a minute of sound, a page or two: used where the size tells nothing."""
_PDF_BYTES_A_TOKEN: Final = 25
_ASCII: Final = 5
"""So many of WEIGHTS are all of ASCII."""


def estimate_input_tokens(request: Request) -> int:
    """The prompt's tokens: turns, tools, schema. An estimate; see the module."""
    schema = request.response_format.schema if request.response_format is not None else None
    tokens = sum(map(_message, request.messages)) + sum(map(_tool, request.tools))
    return math.ceil(tokens + (0 if schema is None else _json(schema)))


def estimate_text_tokens(text: str) -> int:
    """The tokens of a text. An estimate; see the module."""
    return math.ceil(_text(text))


def _text(text: str) -> float:
    data = text.encode("utf-8", "replace")
    kinds = WEIGHTS[:_ASCII] if text.isascii() else WEIGHTS
    return sum((len(data) - len(data.translate(None, first))) * tokens for _, first, tokens in kinds)


def _json(value: Json) -> float:
    return _text(dump(value)[0].decode())


def _message(message: Message) -> float:
    return MESSAGE_TOKENS + _text(message.name or "") + _parts(message.parts)


def _parts(parts: Iterable[Part]) -> float:
    return sum(map(_part, parts))


def _part(part: Part) -> float:
    match part:
        case Text() | Reasoning() | Refusal():
            return _text(part.text)
        case ToolCall():
            return MESSAGE_TOKENS + _text(part.name) + _text(part.arguments)
        case ToolResult():
            return MESSAGE_TOKENS + _parts(part.parts)
        case Media():
            return _media(part)
        case ServerTool() | Unknown():
            return _json(part.data)


def _media(part: Media) -> float:
    source = part.source
    if part.kind != "document" or not isinstance(source, InlineData):
        return MEDIA_TOKENS[part.kind]
    if source.media_type.startswith("text/"):
        return _text(source.data.decode(errors="replace"))
    return max(MEDIA_TOKENS["document"], len(source.data) / _PDF_BYTES_A_TOKEN)


def _tool(tool: Tool) -> float:
    if isinstance(tool, Unknown):
        return TOOL_TOKENS + _json(tool.data)
    schema = tool.format if isinstance(tool, CustomTool) else tool.parameters
    described = _text(tool.name) + _text(tool.description or "")
    return TOOL_TOKENS + described + (0 if schema is None else _json(schema))
