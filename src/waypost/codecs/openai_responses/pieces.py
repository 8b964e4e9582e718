"""What a stream's decoder holds: items that are open, and the pieces in them that grow.

They know what was given already, so that the whole piece, when it comes, adds only the rest.
"""

from __future__ import annotations

from dataclasses import replace

from waypost.chat import (
    CitationDelta,
    Event,
    Opaque,
    Part,
    PartDelta,
    PartEnd,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Unknown,
)
from waypost.codecs.openai_chat.fields import refuse
from waypost.codecs.openai_responses.items import Place
from waypost.codecs.openai_responses.wire import OWN, RAW_REASONING, keep


class Growing:
    """A part that has begun: its number, how much of it was given, and what its end is known to bring."""

    __slots__ = ("citations", "kind", "number", "opaque", "size")

    def __init__(self, number: int, part: Part) -> None:
        self.number = number
        self.kind = type(part)
        self.size = 0
        self.citations = 0
        self.opaque: Opaque = {}

    def complete(self, part: Part, events: list[Event]) -> None:
        """Give what the whole part has and the events before did not bring."""
        if type(part) is not self.kind:
            refuse("item", f"ends with a {type(part).__name__} where a {self.kind.__name__} began")
        text = _text_of(part)
        if len(text) > self.size:
            events.append(PartDelta(self.number, text[self.size :]))
            self.size = len(text)
        for citation in part.citations[self.citations :] if isinstance(part, Text) else ():
            self.citations += 1
            events.append(CitationDelta(self.number, citation))
        if not isinstance(part, Unknown):
            self.opaque = part.opaque

    def end(self) -> PartEnd:
        """The event that ends it."""
        return PartEnd(self.number, opaque=self.opaque)


def _text_of(part: Part) -> str:
    match part:
        case Text() | Reasoning() | Refusal():
            return part.text
        case ToolCall():
            return part.arguments
        case _:
            return ""


def emptied(part: Part) -> Part:
    """The part as it begins."""
    match part:
        case Text():
            return Text("")
        case Reasoning():
            return Reasoning("", keep({RAW_REASONING: part.opaque.get(OWN, {}).get(RAW_REASONING)}))
        case Refusal():
            return Refusal("")
        case ToolCall():
            return replace(part, arguments="", opaque={})
        case _:
            return part


class OpenItem:
    """An item that has begun. `number` is kept for the part it is, if it is one; `open` is the piece that grows."""

    __slots__ = ("id", "kind", "number", "open", "pieces")

    def __init__(self, kind: str, item_id: str | None, number: int | None = None) -> None:
        self.kind = kind
        self.id = item_id
        self.number = number
        self.pieces: dict[Place, Growing] = {}
        self.open: Growing | None = None
