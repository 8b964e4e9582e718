"""The messages of a request, both ways.

The format is narrower than the canonical one: a tool's result is a message of its own and holds text only, and an
assistant's message has one reasoning, one content and its tool calls, in that order. What differs is moved to where
the format has a place for it (pictures of a tool's result into the user message that follows) before it is given up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, get_args

from waypost.chat import (
    Json,
    Media,
    Message,
    Part,
    Reasoning,
    Refusal,
    Role,
    ServerTool,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from waypost.codecs.openai_chat.dialect import FAMILY, WIRE, Dialect, Losses, graft, opaque_of
from waypost.codecs.openai_chat.fields import Fields, refuse
from waypost.codecs.openai_chat.parts import decode_content, decode_tool_call, encode_part, encode_tool_call

ROLES: Final[tuple[Role, ...]] = get_args(Role)
LEGACY_HINT: Final = "Use tools, tool_choice and messages of role tool instead."


def decode_messages(values: Sequence[Json]) -> tuple[Message, ...]:
    """Raises InvalidRequest, naming the place."""
    return tuple(_decode_message(Fields(value, f"messages[{index}]")) for index, value in enumerate(values))


def _decode_message(message: Fields) -> Message:
    role = message.text("role")
    if role == "function":
        refuse(message.at("role"), "must not be function, which is not supported", hint=LEGACY_HINT)
    if role == "tool":
        return _decode_tool_message(message)
    if role == "assistant":
        return _decode_assistant(message)
    for known in ROLES:
        if known == role:
            break
    else:
        refuse(message.at("role"), f"must be one of {', '.join(ROLES)}")
    return _decode_prompt(message, known)


def _decode_prompt(message: Fields, role: Role) -> Message:
    content = message.take("content")
    if content is None:
        refuse(message.at("content"), "must be a string or a list")
    parts = tuple(decode_content(content, message.at("content")))
    return Message(role, parts, message.text_or_none("name"), opaque_of(message.rest()))


def _decode_tool_message(message: Fields) -> Message:
    path = message.at("content")
    call_id = message.text("tool_call_id")
    parts: list[Text | Media | Unknown] = []
    # A tool that gave nothing back is "" here; other formats refuse an empty text.
    content = message.take("content")
    for number, part in enumerate(decode_content(None if content == "" else content, path)):
        if isinstance(part, Refusal):
            refuse(f"{path}[{number}].type", "must not be refusal in a tool's result")
        parts.append(part)
    result = ToolResult(call_id, tuple(parts), message.text_or_none("name"), opaque=opaque_of(message.rest()))
    return Message("tool", (result,))


def _decode_assistant(message: Fields) -> Message:
    if message.take("function_call") is not None:
        refuse(message.at("function_call"), "is not supported", hint=LEGACY_HINT)
    parts: list[Part] = []
    # Two names for one thing: DeepSeek's, and OpenRouter's. Where a server gives both they are the same text.
    reasoning = message.text_or_none("reasoning_content"), message.text_or_none("reasoning")
    parts += [Reasoning(text) for text in reasoning if text][:1]
    content = decode_content(message.take("content"), message.at("content"))
    parts += [part for part in content if not _says_nothing(part)]
    refusal = message.text_or_none("refusal")
    parts += [Refusal(refusal)] if refusal else []
    for index, call in enumerate(message.array_or_none("tool_calls") or []):
        parts.append(decode_tool_call(call, f"{message.at('tool_calls')}[{index}]"))
    return Message("assistant", tuple(parts), message.text_or_none("name"), opaque_of(message.rest()))


def encode_messages(messages: Iterable[Message], dialect: Dialect, losses: Losses) -> list[dict[str, Json]]:
    """The wire messages; what they cannot carry is noted in `losses`."""
    writer = _Writer(dialect, losses)
    for message in messages:
        writer.add(message)
    return writer.finish()


class _Writer:
    """Writes messages in order. Media of tool results wait until the last result of the turn is out."""

    def __init__(self, dialect: Dialect, losses: Losses) -> None:
        self._dialect = dialect
        self._losses = losses
        self._wire: list[dict[str, Json]] = []
        self._waiting: list[Part] = []

    def finish(self) -> list[dict[str, Json]]:
        self._flush()
        return self._wire

    def add(self, message: Message) -> None:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        others: Sequence[Part] = [part for part in message.parts if not isinstance(part, ToolResult)]
        for result in results:
            self._wire.append(self._tool_message(result))
        if message.role == "tool":
            self._waiting += others
            self._losses.own(message.opaque)
        elif results and not others:
            self._losses.own(message.opaque)
        elif message.role == "user":
            waiting, self._waiting = self._waiting, []
            self._append(message, self._content("user", [*waiting, *others]), bool(waiting or others))
        else:
            self._flush()
            self._other_role(message, others)

    def _flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._append(Message("user", ()), self._content("user", waiting), True)

    def _other_role(self, message: Message, parts: Sequence[Part]) -> None:
        if message.role == "assistant":
            self._wire.append(self._finished(self._assistant(parts), message))
        else:
            self._append(message, self._content(message.role, parts), bool(parts))

    def _append(self, message: Message, content: str | list[Json], meant: bool) -> None:
        if meant and content == []:
            return  # every part was lost, and said so: an empty message would only be refused
        role = message.role
        if role == "developer" and not self._dialect.developer_role:
            self._losses.add("Message.role.developer", "sent as system")
            role = "system"
        self._wire.append(self._finished({"role": role, "content": content}, message))

    def _finished(self, wire: dict[str, Json], message: Message) -> dict[str, Json]:
        if message.name is not None:
            wire["name"] = message.name
        return graft(wire, self._losses.own(message.opaque))

    def _tool_message(self, result: ToolResult) -> dict[str, Json]:
        if result.is_error:
            self._losses.add("ToolResult.is_error", "a tool message says so only in its text")
        kept = [part for part in result.parts if not isinstance(part, Media)]
        self._waiting += [part for part in result.parts if isinstance(part, Media)]
        content = self._content("tool", kept)
        wire: dict[str, Json] = {"role": "tool", "tool_call_id": result.call_id, "content": content}
        if result.name is not None:
            wire["name"] = result.name
        return graft(wire, self._losses.own(result.opaque))

    def _content(self, role: Role, parts: Sequence[Part]) -> str | list[Json]:
        """One plain text is a string, all else a list; where lists of text are not taken they become a string."""
        encoded = [encode_part(part, self._dialect, self._losses) for part in parts]
        wire = [part for part in encoded if part is not None]
        plain = all(part.get("type") == "text" and len(part) == 2 for part in wire)
        if plain and (len(wire) == 1 or (wire and not self._dialect.text_lists)):
            if len(wire) > 1:
                self._losses.add("borders of Text parts", "the server takes one text a message")
            # An assistant's text is cut in mid-sentence by citations; other texts are blocks.
            return ("" if role == "assistant" else "\n").join(part["text"] for part in wire)
        if not wire and role == "tool":
            return ""
        return list(wire)

    def _assistant(self, parts: Sequence[Part]) -> dict[str, Json]:
        reasoning = [part for part in parts if isinstance(part, Reasoning)]
        calls = [part for part in parts if _is_call(part)]
        content = [part for part in parts if not isinstance(part, Reasoning) and not _is_call(part)]
        if [*reasoning, *content, *calls] != list(parts):
            self._losses.add("order of parts", "a message has its reasoning first and its tool calls last")
        wire: dict[str, Json] = {"role": "assistant", "content": None}
        self._add_reasoning(wire, reasoning)
        if any(isinstance(part, Media) for part in content):
            self._losses.add("Media in an assistant's message", "OpenAI takes an assistant's words only")
        self._add_content(wire, [part for part in content if not isinstance(part, Media) and not _says_nothing(part)])
        if calls:
            wire["tool_calls"] = [
                encode_tool_call(call, self._losses) if isinstance(call, ToolCall) else dict(call.data)
                for call in calls
                if isinstance(call, ToolCall | ServerTool)
            ]
        elif wire["content"] is None and "refusal" not in wire:
            wire["content"] = ""
        return wire

    def _add_reasoning(self, wire: dict[str, Json], reasoning: Sequence[Reasoning]) -> None:
        for part in reasoning:
            self._losses.own(part.opaque)
        text = "\n\n".join(part.text for part in reasoning if part.text)
        if len(reasoning) > 1:
            self._losses.add("borders of Reasoning parts", "a message has one reasoning text")
        if text and self._dialect.reasoning:
            wire["reasoning_content"] = text
        elif text:
            self._losses.add("Reasoning", "OpenAI's chat API does not take reasoning back")

    def _add_content(self, wire: dict[str, Json], parts: Sequence[Part]) -> None:
        last = parts[-1] if parts else None
        if isinstance(last, Refusal) and not last.opaque and not any(isinstance(part, Refusal) for part in parts[:-1]):
            wire["refusal"] = last.text
            parts = parts[:-1]
        content = self._content("assistant", parts)
        if content:
            wire["content"] = content


def _says_nothing(part: Part) -> bool:
    """Clients send "" beside tool calls where null is meant; other formats refuse an empty text."""
    return isinstance(part, Text | Refusal) and not part.text and FAMILY not in part.opaque


def _is_call(part: Part) -> bool:
    return isinstance(part, ToolCall) or (isinstance(part, ServerTool) and part.wire == WIRE)
