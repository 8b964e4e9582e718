"""What a stream has told of its output so far: for an answer that is not finished, and never will be.

Fed with the events that were told, it gives the items as far as they had come. The invariant: a text is what the
deltas said, in their order; an item that was told as done is that item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from waypost.chat import Json

Item = dict[str, Any]
_LISTS: Final = {"content_index": "content", "summary_index": "summary"}
_TEXT, _REFUSAL, _ARGUMENTS, _INPUT = "text", "refusal", "arguments", "input"
_DELTAS: Final = {
    "response.output_text.delta": _TEXT,
    "response.refusal.delta": _REFUSAL,
    "response.reasoning_text.delta": _TEXT,
    "response.reasoning_summary_text.delta": _TEXT,
    "response.function_call_arguments.delta": _ARGUMENTS,
    "response.custom_tool_call_input.delta": _INPUT,
}
"""Which member grows."""


class PartialOutput:
    """One stream's."""

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}
        self._growing: dict[tuple[int, str, int, str], list[str]] = {}
        """The texts under way, by the place of their item, the list in it, the place there, and the member."""

    def see(self, kind: str, event: Mapping[str, Json]) -> None:
        """The next event."""
        if kind in _DELTAS:
            self._grow(event, _DELTAS[kind])
        elif (note := _NOTES.get(kind)) is not None:
            note(self, event)

    def output(self) -> list[Item]:
        """The items so far. What was under way is incomplete."""
        for (index, name, number, member), pieces in self._growing.items():
            target = self._target(index, name, number)
            if target is not None:
                target[member] = "".join(pieces)
        return [self._items[index] for index in sorted(self._items)]

    def _grow(self, event: Mapping[str, Json], member: str) -> None:
        name, number = _place(event)
        index, delta = event.get("output_index"), event.get("delta")
        if isinstance(index, int) and isinstance(delta, str):
            self._growing.setdefault((index, name, number, member), []).append(delta)

    def _add_item(self, event: Mapping[str, Json]) -> None:
        index, item = event.get("output_index"), event.get("item")
        if isinstance(index, int) and isinstance(item, dict):
            self._items[index] = {**item, **({"status": "incomplete"} if "status" in item else {})}

    def _end_item(self, event: Mapping[str, Json]) -> None:
        index, item = event.get("output_index"), event.get("item")
        if isinstance(index, int) and isinstance(item, dict):
            self._items[index] = item
            self._growing = {place: pieces for place, pieces in self._growing.items() if place[0] != index}

    def _add_piece(self, event: Mapping[str, Json]) -> None:
        name, number = _place(event)
        index, piece = event.get("output_index"), event.get("part")
        item = self._items.get(index) if isinstance(index, int) else None
        if item is not None and name and isinstance(piece, dict):
            pieces = list(item.get(name) or ())
            pieces[number : number + 1] = [dict(piece)]
            item[name] = pieces

    def _target(self, index: int, name: str, number: int) -> Item | None:
        item = self._items.get(index)
        if item is None or not name:
            return item
        pieces = item.get(name) or []
        return pieces[number] if 0 <= number < len(pieces) else None


def _place(event: Mapping[str, Json]) -> tuple[str, int]:
    """Which list of the item it is about, and the place there; "" for the item itself."""
    for index, name in _LISTS.items():
        number = event.get(index)
        if isinstance(number, int):
            return name, number
    return "", 0


_NOTES: Final[Mapping[str, Callable[[PartialOutput, Mapping[str, Json]], None]]] = {
    "response.output_item.added": PartialOutput._add_item,  # noqa: SLF001 - its own table
    "response.output_item.done": PartialOutput._end_item,  # noqa: SLF001
    "response.content_part.added": PartialOutput._add_piece,  # noqa: SLF001
    "response.reasoning_summary_part.added": PartialOutput._add_piece,  # noqa: SLF001
    "response.content_part.done": PartialOutput._add_piece,  # noqa: SLF001
    "response.reasoning_summary_part.done": PartialOutput._add_piece,  # noqa: SLF001
}
