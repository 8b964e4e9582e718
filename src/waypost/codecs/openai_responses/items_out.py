"""Parts as items, for a request's `input` and an answer's `output`, whole or growing.

Neighbours of one kind with one id are pieces of one item. A request carries the ids that the provider gave and no
others, and only reasoning that has one; an answer makes ids where there are none, from its own id and the item's place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from waypost.chat import Json, Part, Reasoning, Refusal, ServerTool, Text, ToolCall, Unknown
from waypost.codecs.openai_responses.content import encode_output_text
from waypost.codecs.openai_responses.items import says_something
from waypost.codecs.openai_responses.wire import ITEM, RAW_REASONING, WIRE, Losses

ID_PREFIXES: Final = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}
_MARKS: Final = frozenset({"id", ITEM, RAW_REASONING})


class Item:
    """One item: its form on the wire, its number, and the kind and id of the pieces that may join it.

    For a stream: how many of its parts are growing, and whether nothing more may join it.
    """

    __slots__ = ("growing", "kind", "number", "opaque_id", "sealed", "wire")

    def __init__(self, wire: dict[str, Json], number: int, kind: str, opaque_id: Json) -> None:
        self.wire = wire
        self.number = number
        self.kind = kind
        self.opaque_id = opaque_id
        self.growing = 0
        self.sealed = not kind


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a part was written: `target[member]` is the text that grows; a whole item has no such member."""

    item: Item
    target: dict[str, Json]
    member: str = ""
    list_name: str = ""
    number: int = 0

    def absorb(self, own: Mapping[str, Json]) -> None:
        """Take in what the part's opaque data says of the piece and of its item."""
        self.item.wire.update(own.get(ITEM) or {})
        self.target.update((name, value) for name, value in own.items() if name not in _MARKS)


class ItemWriter:
    """Writes parts in order. `new_id` makes an item's id of its prefix and number; without it this is a request."""

    def __init__(self, losses: Losses, new_id: Callable[[str, int], str] | None = None) -> None:
        self.items: list[Item] = []
        self._losses = losses
        self._new_id = new_id

    def add(self, part: Part) -> Spot | None:
        """Write the part as far as it is known. None, and a loss noted, if there is no place for it."""
        match part:
            case Text():
                return self._piece("message", "content", "text", encode_output_text(part, self._losses), part)
            case Refusal():
                return self._piece("message", "content", "refusal", {"type": "refusal", "refusal": part.text}, part)
            case Reasoning():
                return self._reasoning(part)
            case ToolCall():
                return self._call(part)
            case ServerTool() | Unknown() if part.wire == WIRE:
                item = self._item(dict(part.data))
                return Spot(item, item.wire)
            case ServerTool() | Unknown():
                self._losses.add(f"{type(part).__name__}.{part.wire}", f"only {part.wire} has such a part")
            case _:
                self._losses.add(f"{type(part).__name__} in an assistant's message", "the format has no place for it")
        return None

    def _item(self, wire: dict[str, Json], kind: str = "", opaque_id: Json = None) -> Item:
        item = Item(wire, len(self.items), kind, opaque_id)
        self.items.append(item)
        return item

    def _head(self, kind: str, item_id: Json) -> dict[str, Json]:
        if item_id is None and self._new_id is not None:
            item_id = self._new_id(ID_PREFIXES[kind], len(self.items))
        head: dict[str, Json] = {"type": kind} if item_id is None else {"type": kind, "id": item_id}
        if self._new_id is not None and kind in ("message", "function_call"):
            head["status"] = "completed"
        return head

    def _piece(
        self, kind: str, list_name: str, member: str, target: dict[str, Json], part: Text | Refusal | Reasoning
    ) -> Spot:
        own = self._losses.own(part.opaque)
        item = self._item_of_pieces(kind, own.get("id"))
        pieces = item.wire.setdefault(list_name, [])
        pieces.append(target)
        spot = Spot(item, target, member, list_name, len(pieces) - 1)
        spot.absorb(own)
        return spot

    def _item_of_pieces(self, kind: str, item_id: Json) -> Item:
        last = self.items[-1] if self.items else None
        # In a request each piece without an id stands alone, in the short form that needs none.
        if last is not None and last.kind == kind and last.opaque_id == item_id and (item_id or self._new_id):
            return last
        lists = {"role": "assistant", "content": []} if kind == "message" else {"summary": []}
        return self._item({**self._head(kind, item_id), **lists}, kind, item_id)

    def _reasoning(self, part: Reasoning) -> Spot | None:
        own = self._losses.own(part.opaque)
        if self._new_id is None and not own.get("id"):
            if part.text or part.opaque:
                self._losses.add("Reasoning", "OpenAI takes back only reasoning items that it gave")
            return None
        if not part.text:
            # Without an id nothing can join it, or it would be there no more.
            item_id = own.get("id")
            alone = {**self._head("reasoning", None), "summary": []}
            item = self._item_of_pieces("reasoning", item_id) if item_id else self._item(alone)
            spot = Spot(item, item.wire)
            spot.absorb(own)
            return spot
        if own.get(RAW_REASONING):
            return self._piece("reasoning", "content", "text", {"type": "reasoning_text", "text": part.text}, part)
        return self._piece("reasoning", "summary", "text", {"type": "summary_text", "text": part.text}, part)

    def _call(self, part: ToolCall) -> Spot:
        own = self._losses.own(part.opaque)
        kind, member = _CALL_KINDS[part.kind]
        # A function without arguments is "{}" here: clients give the string to a JSON reader.
        text = part.arguments or ("{}" if part.kind == "function" else "")
        named = {"call_id": part.call_id, "name": part.name, member: text}
        wire = {**self._head(kind, own.get("id")), **own, **named}
        item = self._item(wire)
        return Spot(item, item.wire, member)


_CALL_KINDS: Final = {"function": ("function_call", "arguments"), "custom": ("custom_tool_call", "input")}


def encode_assistant(parts: Sequence[Part], losses: Losses) -> list[Json]:
    """An assistant's turn as items of `input`. Text that says nothing is none, as in decoding."""
    said = [part for part in parts if _is_said(part)]
    if parts and not said:
        losses.add("an assistant's message that says nothing", "the format has no item for it")
    writer = ItemWriter(losses)
    for part in said:
        writer.add(part)
    return [_easy(item.wire) for item in writer.items]


def _is_said(part: Part) -> bool:
    if isinstance(part, Reasoning):
        return bool(part.text or part.opaque)
    return not isinstance(part, Text | Refusal) or says_something(part)


def _easy(wire: dict[str, Json]) -> dict[str, Json]:
    """A message that no provider gave an id has the short form, since the long one requires an id."""
    content = wire.get("content")
    if wire["type"] != "message" or "id" in wire or not content:
        return wire
    plain = content[0] == {"type": "output_text", "text": content[0].get("text"), "annotations": []}
    return {**wire, "content": content[0]["text"]} if plain and len(content) == 1 else wire
