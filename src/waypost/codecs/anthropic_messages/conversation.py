"""The turns of a conversation, both ways.

Decoding puts each run of tool results into a message of role "tool", as other formats have them. Encoding joins
neighbours of one wire role (Anthropic reads them as one turn anyway, and a turn's results must come together and
first), and moves system messages to the head, where this format has its only sure place for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final

from waypost.chat import Json, Message, Opaque, Part, Role, Text, ToolCall, ToolResult, Unknown
from waypost.codecs.anthropic_messages.blocks import Block, Encoding, decode_block, encode_part
from waypost.codecs.anthropic_messages.wire import FAMILY, keep, own
from waypost.codecs.arguments import unwrap_arguments
from waypost.codecs.reading import WireError, join, objects, required

ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}

IN_PLACE: Final = "in_messages"
"""Opaque mark of a system message that stood among the messages, as newer models allow: it goes back there."""


def decode_conversation(body: dict[str, Json]) -> tuple[Message, ...]:
    """The system prompt and all turns. Raises WireError."""
    messages: list[Message] = []
    if body.get("system") is not None:
        parts = decode_content(body["system"], "system")
        messages.append(Message("system", parts))
    required(body, "messages", list, "")
    turns = objects(body, "messages", "")
    if not turns:
        raise WireError("messages", "at least one message is required")
    for index, turn in enumerate(turns):
        messages += _decode_turn(turn, f"messages.{index}", is_last=index == len(turns) - 1)
    return tuple(messages)


def _decode_turn(turn: dict[str, Json], path: str, *, is_last: bool) -> list[Message]:
    name = required(turn, "role", str, path)
    role = ROLES.get(name)
    if role is None:
        raise WireError(join(path, "role"), "Input should be 'user', 'assistant' or 'system'")
    if turn.get("content") is None:
        raise WireError(join(path, "content"), "Field required")
    parts = decode_content(turn["content"], join(path, "content"))
    if not parts and not (is_last and role == "assistant"):
        raise WireError(
            path, "all messages must have non-empty content except for the optional final assistant message"
        )
    opaque = keep(turn, "role", "content")
    if role == "user":
        return _split_results(parts, opaque)
    if role == "system":
        return [Message(role, parts, opaque={FAMILY: {**own(opaque), IN_PLACE: True}})]
    parts = tuple(unwrap_arguments(part) if isinstance(part, ToolCall) else part for part in parts)
    return [Message(role, parts, opaque=opaque)]


def _split_results(parts: tuple[Part, ...], opaque: Opaque) -> list[Message]:
    messages: list[Message] = []
    for is_result, run in groupby(parts, lambda part: isinstance(part, ToolResult)):
        messages.append(Message("tool" if is_result else "user", tuple(run), opaque=opaque))
        opaque = {}  # the turn's own members are kept once
    return messages


def decode_content(content: Json, path: str) -> tuple[Part, ...]:
    """A string or a list of blocks. Raises WireError."""
    if type(content) is str:
        return (Text(content),) if content else ()
    if type(content) is list:
        return tuple(decode_block(block, f"{path}.{index}") for index, block in enumerate(content))
    raise WireError(path, "Input should be a string or a list of content blocks")


@dataclass(slots=True)
class _Turn:
    role: str
    results: list[Block] = field(default_factory=list)
    others: list[Block] = field(default_factory=list)
    extras: dict[str, Json] = field(default_factory=dict)

    def wire(self) -> dict[str, Json]:
        blocks = self.results + self.others
        plain = len(blocks) == 1 and blocks[0].keys() == {"type", "text"}
        return {"role": self.role, "content": blocks[0]["text"] if plain else blocks, **self.extras}


def encode_conversation(messages: Sequence[Message], to: Encoding) -> dict[str, Json]:
    """The body's `system` (left out if there is none) and `messages`."""
    system: list[Block] = []
    turns: list[_Turn] = []
    for number, message in enumerate(messages):
        what = f"messages[{number}]"
        _note_losses(message, to, what)
        if message.role in ("system", "developer") and not own(message.opaque).get(IN_PLACE):
            if turns:
                to.losses.add(f"{what}.position", "Anthropic has one system prompt, at the head: it was moved there.")
            system += _system_blocks(message, to, what)
        else:
            _add_turn(turns, message, to, what)
    if not turns:
        to.losses.add("messages", "Anthropic requires a turn: a system prompt alone is sent as the user's words.")
        turns, system = ([_Turn("user", others=system)] if system else []), []
    body: dict[str, Json] = {}
    if system:
        plain = len(system) == 1 and system[0].keys() == {"type", "text"}
        body["system"] = system[0]["text"] if plain else system
    return {**body, "messages": [turn.wire() for turn in turns]}


def _note_losses(message: Message, to: Encoding, what: str) -> None:
    to.losses.foreign(f"{what}.opaque", message.opaque)
    if message.name is not None:
        to.losses.add(f"{what}.name", "Anthropic's messages carry no name of the speaker.")


def _blocks(message: Message, to: Encoding, what: str) -> list[Block]:
    encoded = [encode_part(part, to, f"{what}.parts[{number}]") for number, part in enumerate(message.parts)]
    return [block for block in encoded if block is not None]


def _system_blocks(message: Message, to: Encoding, what: str) -> list[Block]:
    for number, part in enumerate(message.parts):
        if not isinstance(part, Text | Unknown):
            to.losses.add(f"{what}.parts[{number}]", "Anthropic's system prompt is text only.")
    texts = tuple(part for part in message.parts if isinstance(part, Text | Unknown))
    return _blocks(replace(message, parts=texts), to, what)


def _add_turn(turns: list[_Turn], message: Message, to: Encoding, what: str) -> None:
    role = {"developer": "system", "tool": "user"}.get(message.role, message.role)
    blocks = _blocks(message, to, what)
    if not blocks:
        to.losses.add(what, "Nothing is left to send of this message, so it was left out.")
        return
    if not turns or turns[-1].role != role:
        turns.append(_Turn(role))
    turn = turns[-1]
    for block in blocks:
        if block["type"] != "tool_result":
            turn.others.append(block)
        else:
            if turn.others:
                to.losses.add(f"{what}.position", "Anthropic wants a turn's tool results before all else: moved there.")
            turn.results.append(block)
    turn.extras.update({name: value for name, value in own(message.opaque).items() if name != IN_PLACE})
