"""A streamed answer, decoded: wire events in, canonical events out.

An item's place is its `output_index`; sequence numbers and item ids are not trusted, since proxies change them. The
item that ends says all of it again, and so does the response that ends the stream: what the deltas did not bring comes
from there, so other events that repeat what is known are not read. The invariants: Finish comes only with a terminal
response; after Failed nothing follows. The common event is a delta: one typed decode, one look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

import msgspec

from waypost.chat import (
    Citation,
    CitationDelta,
    Event,
    Failed,
    Finish,
    Json,
    LogprobsDelta,
    Media,
    Part,
    PartDelta,
    PartStart,
    Reasoning,
    Refusal,
    ResponseStart,
    ServerTool,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    UsageUpdate,
)
from waypost.codecs.jsonbytes import JsonError, parse_reply
from waypost.codecs.openai_chat.fields import Fields, refuse
from waypost.codecs.openai_responses.errors import failure_of
from waypost.codecs.openai_responses.items import Place, decode_item
from waypost.codecs.openai_responses.pieces import Growing, OpenItem, emptied
from waypost.codecs.openai_responses.response import (
    created,
    decode_usage,
    finish_reason,
    logprobs_of,
    provider_fields,
)
from waypost.codecs.openai_responses.wire import OWN, RAW_REASONING, WIRE, given_id, keep
from waypost.codecs.replies import excerpt
from waypost.codecs.sse import SseEvent
from waypost.errors import IncompleteStream, InvalidRequest, MalformedResponse, ProviderError

DONE: Final = b"[DONE]"


class _Delta(msgspec.Struct, gc=False):
    """What a delta has; of any other event the type."""

    type: str = ""
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: Any = None


_EVENTS: Final = msgspec.json.Decoder(_Delta)

GROWTH: Final[Mapping[str, tuple[str, Part]]] = {
    "response.output_text.delta": ("content", Text("")),
    "response.refusal.delta": ("content", Refusal("")),
    "response.reasoning_summary_text.delta": ("summary", Reasoning("")),
    "response.reasoning_text.delta": ("content", Reasoning("", keep({RAW_REASONING: True}))),
    "response.function_call_arguments.delta": ("", ToolCall("", "", "")),
    "response.custom_tool_call_input.delta": ("", ToolCall("", "", "", "custom")),
}
"""The list of the item in which each delta's part stands, and the part it makes grow, as it begins."""

HOLDERS: Final[Mapping[type[Part], str]] = {Text: "message", Refusal: "message", Reasoning: "reasoning"}
"""The kind of item that holds the pieces; any other item is one part."""
CALLS: Final = ("function_call", "custom_tool_call")


class ResponsesStreamDecoder:
    """One stream's state. See `codecs.codec.StreamDecoder`."""

    __slots__ = ("_called", "_complete", "_done", "_done_ids", "_ended", "_fields", "_items", "_parts", "_started")

    def __init__(self) -> None:
        self._started = False
        self._ended = False
        self._complete = False
        self._items: dict[int, OpenItem] = {}
        self._done: set[int] = set()
        self._done_ids: set[str] = set()
        self._fields: dict[str, dict[str, Json]] = {}
        self._parts = 0
        self._called = False

    def feed(self, event: SseEvent) -> Sequence[Event]:
        """The canonical events that this wire event completes."""
        if self._ended or event.data.strip() == DONE:
            return ()
        events: list[Event] = []
        try:
            self._take(event, events)
        except JsonError as error:
            told = f"An event is not valid JSON: {error}. It begins: {excerpt(event.data, 80)}"
            events += self._fail(MalformedResponse(told))
        except InvalidRequest as error:
            events += self._fail(MalformedResponse(f"An event is not in the Responses format: {error.message}"))
        return events

    def finish(self) -> Sequence[Event]:
        """The end of the bytes: Failed(IncompleteStream) unless a terminal response or an error was seen."""
        if self._ended:
            return ()
        return self._fail(IncompleteStream("The stream ended before the response was completed.", hint="Ask again."))

    @property
    def finished(self) -> bool:
        """Was a terminal response seen?"""
        return self._complete

    def _fail(self, error: ProviderError) -> Sequence[Event]:
        self._ended = True
        return (Failed(error),)

    def _take(self, event: SseEvent, events: list[Event]) -> None:
        wire = parse_reply(event.data, _EVENTS)
        kind = wire.type or event.event
        grows = GROWTH.get(kind)
        if grows is not None and isinstance(wire.delta, str):
            name, part = grows
            index = wire.summary_index if name == "summary" else wire.content_index if name else 0
            self._grow(wire, (name, index), part, events)
            return
        handler = self._handlers.get(kind)
        # New types of events may come at any time; what they make grow is whole in the item that ends.
        if handler is not None:
            handler(self, Fields(parse_reply(event.data)), events)
        elif not kind and isinstance(value := parse_reply(event.data), dict) and value.get("error"):
            events += self._fail(failure_of(value["error"]))

    def _grow(self, wire: _Delta, place: Place, part: Part, events: list[Event]) -> None:
        item = self._items.get(wire.output_index)
        if item is None:
            refuse("output_index", f"is {wire.output_index}, and no such item is open")
        if not wire.delta:
            return
        growing = item.pieces.get(place)
        if growing is None and HOLDERS.get(type(part)) == item.kind:
            growing = self._begin(item, place, part, events)
        if growing is None or growing is not item.open or growing.kind is not type(part):
            refuse("type", f"is {wire.type}, which does not fit what is open in the {item.kind}")
        growing.size += len(wire.delta)
        events.append(PartDelta(growing.number, wire.delta))

    def _begin(self, item: OpenItem, place: Place, part: Part, events: list[Event]) -> Growing:
        """A piece begins, which ends the one before it."""
        if item.open is not None:
            events.append(item.open.end())
        if item.id is not None and not isinstance(part, ServerTool | Unknown | Media | ToolResult):
            part = replace(part, opaque=keep({**part.opaque.get(OWN, {}), "id": item.id}))
        number, item.number = self._number() if item.number is None else item.number, None
        growing = item.pieces[place] = item.open = Growing(number, part)
        events.append(PartStart(number, part))
        return growing

    def _number(self) -> int:
        self._parts += 1
        return self._parts - 1

    def _on_start(self, event: Fields, events: list[Event]) -> None:
        if not self._started:
            self._start(event, events)

    def _start(self, event: Fields, events: list[Event]) -> None:
        response = event.inner("response")
        self._started = True
        self._fields = provider_fields(event.take("response"))
        head = response.text_or_none("id") or "", response.text_or_none("model") or ""
        events.append(ResponseStart(*head, created(response), self._fields))

    def _on_item_added(self, event: Fields, events: list[Event]) -> None:
        index = self._index(event)
        if index in self._items or index in self._done:
            refuse("output_index", f"is {index}, and that item has begun already")
        wire = event.inner("item")
        kind = wire.text_or_none("type") or "message"
        number = None if kind in HOLDERS.values() else self._number()
        item = self._items[index] = OpenItem(kind, given_id(wire.text_or_none("id")), number)
        if kind in CALLS:
            # Some servers tell all arguments here; they count only if the item ends with them.
            ((place, part),) = decode_item(event.take("item"), "item")
            self._called = True
            self._begin(item, place, emptied(part), events)

    def _index(self, event: Fields) -> int:
        if not self._started:
            refuse("type", "must be response.created in the first event")
        return event.integer_or_none("output_index") or 0

    def _on_annotation(self, event: Fields, events: list[Event]) -> None:
        growing = self._open_piece(event)
        annotation = event.mapping_or_none("annotation")
        # One that comes before its text is told again when the item ends.
        if growing is not None and growing.kind is Text and annotation is not None:
            growing.citations += 1
            events.append(CitationDelta(growing.number, Citation(WIRE, annotation)))

    def _open_piece(self, event: Fields) -> Growing | None:
        """The piece that the event is for, if it still grows."""
        item = self._items.get(self._index(event))
        growing = None if item is None else item.pieces.get(_place(event))
        return None if item is None or growing is not item.open else growing

    def _on_part_done(self, event: Fields, events: list[Event]) -> None:
        """One piece is whole. Its PartEnd waits, since the end of the item may add to the last piece."""
        growing = self._open_piece(event)
        item = self._items.get(self._index(event))
        if growing is not None and item is not None:
            for _, part in decode_item({"type": item.kind, _place(event)[0]: [event.take("part")]}, "item"):
                growing.complete(part, events)
                if item.id is not None:
                    growing.opaque = keep({**growing.opaque.get(OWN, {}), "id": item.id})

    def _on_item_done(self, event: Fields, events: list[Event]) -> None:
        index = self._index(event)
        if index not in self._done:
            self._end_item(index, event.take("item"), "item", events)

    def _end_item(self, index: int, wire: Json, path: str, events: list[Event]) -> None:
        pieces = decode_item(wire, path)
        item = self._items.pop(index, None) or OpenItem("", None)
        self._done.add(index)
        self._done_ids.add(Fields(wire, path).text_or_none("id") or item.id or "")
        for place, part in pieces:
            self._called |= isinstance(part, ToolCall)
            growing = item.pieces.get(place) or self._begin(item, place, emptied(part), events)
            if growing is item.open:
                growing.complete(part, events)
                events.append(growing.end())
                item.open = None
        if item.open is not None:
            events.append(item.open.end())
        if (logprobs := logprobs_of([part for _, part in pieces])) is not None:
            events.append(LogprobsDelta(logprobs))

    def _on_end(self, event: Fields, events: list[Event]) -> None:
        if not self._started:
            self._start(event, events)
        response: dict[str, Json] = event.take("response")
        fields = Fields(response, "response")
        for index, wire in enumerate(fields.array_or_none("output") or ()):
            item_id = Fields(wire, f"output[{index}]").text_or_none("id") or None
            if index not in self._done and item_id not in self._done_ids:
                self._end_item(index, wire, f"output[{index}]", events)
        events += [item.open.end() for item in self._items.values() if item.open is not None]
        events.append(UsageUpdate(decode_usage(fields)))
        reason, raw = finish_reason(response, called=self._called)
        others = provider_fields(response)
        self._ended = self._complete = True
        events.append(Finish(reason, raw, provider_fields={} if others == self._fields else others))

    def _on_failed(self, event: Fields, events: list[Event]) -> None:
        response = event.inner("response")
        events += self._fail(failure_of(response.take("error")))

    def _on_error(self, event: Fields, events: list[Event]) -> None:
        # Flat by the reference; some servers put an object under `error`.
        error = event.take("error")
        events += self._fail(failure_of(error if isinstance(error, dict) else {**event.rest(), "type": None}))

    _handlers: ClassVar[Mapping[str, Callable[[ResponsesStreamDecoder, Fields, list[Event]], None]]] = {
        "response.created": _on_start,
        "response.queued": _on_start,
        "response.in_progress": _on_start,
        "response.output_item.added": _on_item_added,
        "response.output_text.annotation.added": _on_annotation,
        "response.content_part.done": _on_part_done,
        "response.reasoning_summary_part.done": _on_part_done,
        "response.output_item.done": _on_item_done,
        "response.completed": _on_end,
        "response.incomplete": _on_end,
        "response.failed": _on_failed,
        "error": _on_error,
    }


def _place(event: Fields) -> Place:
    summary = event.integer_or_none("summary_index")
    return ("content", event.integer_or_none("content_index") or 0) if summary is None else ("summary", summary)
