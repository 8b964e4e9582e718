"""The turns of a conversation, both ways.

Decoding puts each run of function results into a message of role "tool", as other formats have them. Encoding joins
neighbours of one wire role, since the results of parallel calls must stand in one content, and moves system messages
to `systemInstruction`, the one place this format has for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from waypost.chat import Json, Message, Opaque, Part, Text, ToolCall, ToolResult, Unknown
from waypost.codecs.arguments import unwrap_arguments
from waypost.codecs.gemini.calls import CallIds
from waypost.codecs.gemini.parts import Encoding, decode_part, encode_part
from waypost.codecs.gemini.wire import Members, keep, own, repeated
from waypost.codecs.reading import WireError, join, optional

ROLES: Final = {"user": "user", "model": "model", "function": "user"}
"""`function` is what older clients call the turn that holds results."""


def decode_conversation(body: Members) -> tuple[Message, ...]:
    """The system instruction and all turns. Raises WireError."""
    ids = CallIds()
    contents = repeated(body, "contents", "")
    if not contents:
        raise WireError("contents", "Field required, with at least one content")
    messages = _decode_system(body, ids)
    for index, content in enumerate(contents):
        messages += _decode_turn(content, f"contents.{index}", ids)
    return tuple(messages)


def _decode_system(body: Members, ids: CallIds) -> list[Message]:
    name = "systemInstruction"
    if type(body.get(name)) is str:
        return [Message("system", (Text(body[name]),))]
    content = optional(body, name, dict, "")
    if content is None:
        return []
    return [Message("system", _decode_parts(content, name, ids), opaque=keep(content, "parts"))]


def _decode_parts(content: Members, path: str, ids: CallIds) -> tuple[Part, ...]:
    items = repeated(content, "parts", path)
    if not items:
        raise WireError(join(path, "parts"), "Field required, with at least one part")
    return tuple(decode_part(part, f"{path}.parts.{index}", ids) for index, part in enumerate(items))


def _decode_turn(content: Members, path: str, ids: CallIds) -> list[Message]:
    role = ROLES.get(optional(content, "role", str, path) or "user")
    if role is None:
        raise WireError(join(path, "role"), "Input should be 'user' or 'model'")
    parts = _decode_parts(content, path, ids)
    opaque = keep(content, "role", "parts")
    if role == "model":
        parts = tuple(unwrap_arguments(part) if isinstance(part, ToolCall) else part for part in parts)
        return [Message("assistant", parts, opaque=opaque)]
    return _split_results(parts, opaque)


def _split_results(parts: tuple[Part, ...], opaque: Opaque) -> list[Message]:
    messages: list[Message] = []
    for is_result, run in groupby(parts, lambda part: isinstance(part, ToolResult)):
        messages.append(Message("tool" if is_result else "user", tuple(run), opaque=opaque))
        opaque = {}  # the turn's own members are kept once
    return messages


@dataclass(slots=True)
class _Turn:
    role: str
    parts: list[Members] = field(default_factory=list)
    extras: dict[str, Json] = field(default_factory=dict)

    def wire(self) -> Members:
        return {"role": self.role, "parts": self.parts, **self.extras}


def encode_conversation(messages: Sequence[Message], to: Encoding) -> Members:
    """The body's `systemInstruction` (left out if there is none) and `contents`."""
    system = _Turn("user")
    turns: list[_Turn] = []
    for number, message in enumerate(messages):
        what = f"messages[{number}]"
        to.losses.foreign(f"{what}.opaque", message.opaque)
        if message.name is not None:
            to.losses.add(f"{what}.name", "Gemini's contents carry no name of the speaker.")
        if message.role in ("system", "developer"):
            if turns:
                to.losses.add(f"{what}.position", "Gemini has one system instruction, at the head: it was moved there.")
            system.parts += _system_parts(message, to, what)
            system.extras.update(own(message.opaque))
        else:
            _add_turn(turns, message, to, what)
    if not turns:
        to.losses.add("messages", "Gemini requires a turn: a system prompt alone is sent as the user's words.")
        turns, system = ([system] if system.parts else []), _Turn("user")
    contents = [turn.wire() for turn in turns]
    if not system.parts:
        return {"contents": contents}
    return {"systemInstruction": {"parts": system.parts, **system.extras}, "contents": contents}


def _parts(message: Message, to: Encoding, what: str) -> list[Members]:
    encoded = [encode_part(part, to, f"{what}.parts[{number}]") for number, part in enumerate(message.parts)]
    return [part for part in encoded if part is not None]


def _system_parts(message: Message, to: Encoding, what: str) -> list[Members]:
    for number, part in enumerate(message.parts):
        if not isinstance(part, Text | Unknown):
            to.losses.add(f"{what}.parts[{number}]", "Gemini's system instruction is text only.")
    texts = tuple(part for part in message.parts if isinstance(part, Text | Unknown))
    return _parts(Message(message.role, texts), to, what)


def _add_turn(turns: list[_Turn], message: Message, to: Encoding, what: str) -> None:
    role = "model" if message.role == "assistant" else "user"
    parts = _parts(message, to, what)
    if not parts:
        to.losses.add(what, "Nothing is left to send of this message, so it was left out.")
        return
    if not turns or turns[-1].role != role:
        turns.append(_Turn(role))
    turns[-1].parts += parts
    turns[-1].extras.update(own(message.opaque))
