"""The pieces of streamed tool calls, put together: which call a piece belongs to, and its id and name.

OpenAI gives every piece an index, and the first one the id and the name. Other servers leave out the index or the id,
repeat id and name in each piece, or give several calls the same index; the rules are in `_find`.
"""

from __future__ import annotations

from typing import Literal

from waypost.chat import Event, Opaque, PartDelta, PartEnd, PartStart, ToolCall
from waypost.codecs.openai_chat.dialect import opaque_of
from waypost.codecs.openai_chat.response import arguments_text, synthetic_call_id
from waypost.codecs.openai_chat.wire import WireToolCall


class _Call:
    """One call. `part` is None until its name is known, for a part cannot begin without; `held` waits for it."""

    __slots__ = ("held", "id", "kind", "late", "name", "opaque", "part")

    def __init__(self, call_id: str) -> None:
        self.id = call_id
        self.name = ""
        self.kind: Literal["function", "custom"] = "function"
        self.part: int | None = None
        self.held = ""
        self.opaque: Opaque = {}
        self.late: Opaque = {}


class CallPieces:
    """The tool calls of one choice."""

    __slots__ = ("_all", "_by_index", "_choice", "_response_id")

    def __init__(self, choice: int, response_id: str) -> None:
        self._choice = choice
        self._response_id = response_id
        self._by_index: dict[int, _Call] = {}
        self._all: list[_Call] = []

    def begins(self, piece: WireToolCall) -> bool:
        """Is this the first piece of a call?"""
        return self._find(piece) is None

    def add(self, piece: WireToolCall, next_part: int, events: list[Event]) -> int:
        """Take a piece; gives the number of the next part."""
        call = self._find(piece) or self._new(piece)
        name, text = _content(piece)
        if piece.custom is not None or piece.type == "custom":
            call.kind = "custom"
        if name and not call.name:
            call.name = name
        if piece.extra_content is not None:
            call.late = opaque_of({"extra_content": piece.extra_content})
        if call.part is None and not call.name:
            call.held += text
            return next_part
        if call.part is None:
            text = call.held + text
            next_part = self._start(call, next_part, events)
        if text:
            assert call.part is not None  # noqa: S101 - for the type checker
            events.append(PartDelta(call.part, text, self._choice))
        return next_part

    def close(self, next_part: int, events: list[Event]) -> int:
        """End every call; one whose name never came is begun first, so that what did come is not lost."""
        for call in self._all:
            if call.part is None:
                next_part = self._start(call, next_part, events)
                if call.held:
                    events.append(PartDelta(next_part - 1, call.held, self._choice))
            if call.part is not None:
                events.append(PartEnd(call.part, self._choice, call.late))
        return next_part

    def _start(self, call: _Call, next_part: int, events: list[Event]) -> int:
        call.part = next_part
        opaque, call.late = call.late, {}
        events.append(PartStart(next_part, ToolCall(call.id, call.name, "", call.kind, opaque), self._choice))
        return next_part + 1

    def _find(self, piece: WireToolCall) -> _Call | None:
        """The call that the piece goes on with, None if it begins one."""
        if piece.index is not None:
            call = self._by_index.get(piece.index)
            # One index for all calls: another id together with a name begins another call.
            differs = call is not None and piece.id and piece.id != call.id and _content(piece)[0]
            return None if differs else call
        if piece.id:
            return next((call for call in self._all if call.id == piece.id), None)
        return None if _content(piece)[0] or not self._all else self._all[-1]

    def _new(self, piece: WireToolCall) -> _Call:
        call = _Call(piece.id or synthetic_call_id(self._response_id, self._choice, len(self._all)))
        self._all.append(call)
        if piece.index is not None:
            self._by_index[piece.index] = call
        return call


def _content(piece: WireToolCall) -> tuple[str, str]:
    """The name and the arguments in a piece; either may be empty."""
    if piece.custom is not None:
        return piece.custom.name or "", piece.custom.input or ""
    if piece.function is not None:
        return piece.function.name or "", arguments_text(piece.function.arguments)
    return "", ""
