"""The items that the model's side of a conversation has, decoded: in `input`, in `output`, and as a stream ends them.

An item with several pieces (a message's content, the parts of a summary) becomes as many canonical parts, each with
the item's id in its opaque data, the last one with the item's other members too. So a stream can tell each piece as it
grows, and `items_out` can put the item together again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from waypost.chat import Json, Opaque, Part, Reasoning, Refusal, ServerTool, Text, ToolCall, Unknown
from waypost.codecs.openai_chat.fields import Fields
from waypost.codecs.openai_responses.content import decode_content
from waypost.codecs.openai_responses.wire import ITEM, OWN, RAW_REASONING, SERVER_TOOLS, WIRE, given_id, keep, present

Place: TypeAlias = tuple[str, int]
"""Where a part stands in its item: the list it is in ("" for an item that is one part) and its number there."""
WHOLE: Final[Place] = ("", 0)
Pieces: TypeAlias = Sequence[tuple[Place, Part]]


def decode_item(value: Json, path: str) -> Pieces:
    """The parts of one item, each with its place in it. Raises InvalidRequest."""
    item = Fields(value, path)
    kind = item.text_or_none("type") or "message"
    reader = READERS.get(kind)
    if reader is not None:
        return reader(item)
    part = ServerTool(WIRE, value) if kind in SERVER_TOOLS else Unknown(WIRE, value)
    return ((WHOLE, part),)


def _message(item: Fields) -> Pieces:
    item.take("role")
    content = item.take("content")
    parts = decode_content(content, item.at("content"))
    values = content if isinstance(content, list) else [None]
    pieces: list[tuple[Place, Part]] = []
    for number, (part, value) in enumerate(zip(parts, values, strict=True)):
        if not isinstance(part, Text | Refusal):
            # An Unknown part goes back as an item, so it takes a message around it with it.
            pieces.append((("content", number), Unknown(WIRE, {**_BARE_MESSAGE, "content": [value]})))
        elif says_something(part):
            pieces.append((("content", number), part))
    return _of_one_item(item, pieces)


def says_something(part: Text | Refusal) -> bool:
    """An empty piece is left out: other formats refuse it, and a stream cannot tell when it is whole."""
    if part.text or not isinstance(part, Text):
        return bool(part.text)
    # Other formats' citations are not carried, so that nothing would be left of it.
    return any(citation.wire == WIRE for citation in part.citations)


_BARE_MESSAGE: Final = {"type": "message", "role": "assistant"}


def _reasoning(item: Fields) -> Pieces:
    pieces: list[tuple[Place, Part]] = []
    for name, mark in (("summary", {}), ("content", {RAW_REASONING: True})):
        for number, value in enumerate(item.array_or_none(name) or []):
            piece = Fields(value, f"{item.at(name)}[{number}]")
            piece.take("type")
            part = Reasoning(piece.text("text"), keep({**piece.rest(), **mark}))
            pieces += [((name, number), part)] if part.text else []
    return _of_one_item(item, pieces or [(WHOLE, Reasoning(""))])


def _of_one_item(item: Fields, pieces: list[tuple[Place, Part]]) -> Pieces:
    item_id, others = _others(item)
    for number in reversed(range(len(pieces))):
        place, part = pieces[number]
        if isinstance(part, Text | Refusal | Reasoning):
            pieces[number] = place, replace(part, opaque=_with(part.opaque, {"id": item_id, ITEM: others or None}))
            others = {}
    return pieces


def _others(item: Fields) -> tuple[str | None, dict[str, Json]]:
    """The id that the provider gave, and the members without a canonical place; neither of what was made up here."""
    wire_id = item.text_or_none("id")
    item_id = given_id(wire_id)
    made = wire_id != item_id
    return item_id, {name: value for name, value in present(item.rest()).items() if not (made and name == "status")}


def _with(opaque: Opaque, marks: dict[str, Json]) -> Opaque:
    return keep({**opaque.get(OWN, {}), **marks})


def _function_call(item: Fields) -> Pieces:
    return _call(item, item.text_or_none("arguments") or "", "function")


def _custom_tool_call(item: Fields) -> Pieces:
    return _call(item, item.text_or_none("input") or "", "custom")


def _call(item: Fields, text: str, kind: Literal["function", "custom"]) -> Pieces:
    name, call_id = item.text("name"), item.text_or_none("call_id")
    item_id, others = _others(item)
    if not call_id:  # some servers give the item's id alone
        call_id = item.text("call_id" if item_id is None else "id")
    return ((WHOLE, ToolCall(call_id, name, text, kind, keep({**others, "id": item_id}))),)


READERS: Final[dict[str, Callable[[Fields], Pieces]]] = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _function_call,
    "custom_tool_call": _custom_tool_call,
}
