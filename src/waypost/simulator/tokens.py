"""Token counts without a model's vocabulary: pieces of at most four characters, white space going with what follows.

Not any provider's count, but a real one: it grows with the text, is never 0 for text, and is the same every time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from waypost.chat import (
    Choice,
    CustomTool,
    FunctionTool,
    Json,
    Media,
    Message,
    Part,
    Reasoning,
    Refusal,
    Request,
    ServerTool,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    Usage,
)

TOKENS_PER_MESSAGE = 3
TOKENS_PER_MEDIA = 85
_PIECE = re.compile(r"\s*\S{1,4}|\s+")


def split_tokens(text: str) -> list[str]:
    """The text's tokens; joined they are the text again."""
    return _PIECE.findall(text)


def count_tokens(text: str) -> int:
    """How many tokens the text has."""
    return len(split_tokens(text))


def count_request(request: Request) -> int:
    """The tokens of everything the model is given to read."""
    return sum(map(_count_message, request.messages)) + sum(
        _count_json(tool.data) if isinstance(tool, Unknown) else _count_tool(tool) for tool in request.tools
    )


def _count_tool(tool: FunctionTool | CustomTool) -> int:
    form = tool.parameters if isinstance(tool, FunctionTool) else tool.format
    return count_tokens(f"{tool.name} {tool.description or ''}") + _count_json(form)


def count_answer(choices: Iterable[Choice], request: Request) -> Usage:
    """The usage of an answer to the request."""
    parts = [part for choice in choices for part in choice.parts]
    reasoning = sum(count_tokens(part.text) for part in parts if isinstance(part, Reasoning))
    return Usage(
        input_tokens=count_request(request),
        # An answer without a word still has its end token.
        output_tokens=max(1, sum(map(_count_part, parts))),
        output_reasoning_tokens=reasoning or None,
    )


def _count_message(message: Message) -> int:
    return TOKENS_PER_MESSAGE + sum(map(_count_part, message.parts))


def _count_part(part: Part) -> int:
    match part:
        case Text() | Reasoning() | Refusal():
            return count_tokens(part.text)
        case ToolCall():
            return count_tokens(part.name) + count_tokens(part.arguments)
        case ToolResult():
            return sum(map(_count_part, part.parts))
        case Media():
            return TOKENS_PER_MEDIA
        case ServerTool() | Unknown():
            return _count_json(part.data)


def _count_json(value: Json) -> int:
    return count_tokens(msgspec.json.encode(value).decode()) if value else 0
