"""A streamed answer, encoded: canonical events in, wire events out.

Each byte string that `encode` gives is whole SSE events, numbered one after another. Items may interleave as parts do:
each has its place in the output. An item with several pieces stays open until a part comes that does not join it. The
invariant: the terminal response is written by `finish` alone, once Finish was given, and never after Failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from waypost.chat import (
    Choice,
    CitationDelta,
    Event,
    Failed,
    Finish,
    Json,
    LogprobsDelta,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    ResponseStart,
    Text,
    ToolCall,
    Usage,
    UsageUpdate,
)
from waypost.chat.collect import merge_opaque
from waypost.codecs.codec import Loss
from waypost.codecs.jsonbytes import dump
from waypost.codecs.openai_responses.content import encode_citations
from waypost.codecs.openai_responses.errors import error_event, failure_body
from waypost.codecs.openai_responses.items_out import Item, ItemWriter, Spot
from waypost.codecs.openai_responses.response import (
    Ending,
    Head,
    created_at,
    encode_token,
    ending,
    id_maker,
    mark_cut,
    own_members,
)
from waypost.codecs.openai_responses.wire import REPAIRED, Losses
from waypost.codecs.sse import encode_event

STEMS: Final = {
    "output_text": "response.output_text",
    "refusal": "response.refusal",
    "summary_text": "response.reasoning_summary_text",
    "reasoning_text": "response.reasoning_text",
    "function_call": "response.function_call_arguments",
    "custom_tool_call": "response.custom_tool_call_input",
}
"""What the events that make a piece grow begin with, by the piece's type."""
PART_STEMS: Final = {"content": "response.content_part", "summary": "response.reasoning_summary_part"}
BEGUN: Final = ("message", "reasoning", "function_call", "custom_tool_call")
"""Items that are told at their beginning as they are then; any other comes whole."""
INDEX_NAMES: Final = {"content": "content_index", "summary": "summary_index"}


class _Open:
    """A part that is being written. Without a spot it waits for its first text, or has no place in the format."""

    __slots__ = ("head", "part", "place", "spot", "texts")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.spot: Spot | None = None
        self.texts: list[str] = []
        self.place: dict[str, Json] = {}
        self.head = b""

    def put(self, spot: Spot) -> None:
        """Its place is known; what all its deltas share is encoded once."""
        self.spot = spot
        self.place = {"item_id": spot.item.wire.get("id"), "output_index": spot.item.number}
        if spot.list_name:
            self.place[INDEX_NAMES[spot.list_name]] = spot.number
        if spot.member:
            kind = f"{STEMS[spot.target['type']]}.delta"
            shared = {"type": kind, **self.place, **_empty_logprobs(spot)}
            self.head = f"event: {kind}\ndata: ".encode() + dump(shared)[0][:-1] + b',"delta":'


def _empty_logprobs(spot: Spot) -> dict[str, Json]:
    return {"logprobs": []} if spot.target["type"] == "output_text" else {}


class ResponsesStreamEncoder:
    """One stream's state. See `codecs.codec.StreamEncoder`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._losses = Losses()
        self._head: Head | None = None
        self._writer = ItemWriter(self._losses, id_maker(""))
        self._open: dict[int, _Open] = {}
        self._done: list[Item] = []
        self._text: dict[str, Json] | None = None
        self._tokens: list[Json] = []
        self._usage = Usage()
        self._sequence = 0
        self._end: Ending | None = None
        self._failed = False

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What could not be carried over so far."""
        return self._losses.listed()

    def encode(self, event: Event) -> bytes:
        """The wire events for one event; none if it has no place in the format."""
        if self._failed:
            return b""
        match event:
            case UsageUpdate():
                self._usage = self._usage.merge(event.usage)
                return b""
            case ResponseStart():
                return self._start(event)
            case Failed():
                return self._fail(event)
            case _ if event.choice != 0:
                self._losses.add("choices", "the format gives one answer a request: the first was written")
                return b""
            case PartDelta():
                return self._delta(self._open[event.index], event.text)
            case LogprobsDelta():
                self._add_logprobs(event.data)
                return b""
            case Finish():
                return self._finish(event)
            case PartStart() | CitationDelta() | PartEnd():
                return self._of_part(event)

    def finish(self) -> bytes:
        """The terminal response; nothing if the answer was not finished."""
        if self._failed or self._end is None or self._head is None:
            return b""
        output = [item.wire for item in self._writer.items]
        response = self._head.response(output, self._end, self._usage, self._losses)
        return self._event(f"response.{self._end[0]}", response=response)

    def _event(self, kind: str, **members: Json) -> bytes:
        return encode_event(self._dump({"type": kind, "sequence_number": self._next(), **members}), event=kind)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def _dump(self, value: Json) -> bytes:
        wire, repaired = dump(value)
        if repaired:
            self._losses.add(*REPAIRED)
        return wire

    def _start(self, event: ResponseStart) -> bytes:
        self._head = Head(event.id, event.model, created_at(event.created, self._clock))
        self._head.members = own_members(event.provider_fields, self._losses)
        self._writer = ItemWriter(self._losses, id_maker(event.id))
        response = self._head.response([], ("in_progress", None), None, self._losses)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def _fail(self, event: Failed) -> bytes:
        self._failed = True
        if self._head is None:
            return self._event("error", **error_event(event.error))
        output = [item.wire for item in self._done]
        error = failure_body(event.error)
        response = self._head.response(output, ("failed", None), self._usage, self._losses, error)
        return self._event("response.failed", response=response)

    def _finish(self, event: Finish) -> bytes:
        choice = Choice(0, (), event.reason, event.raw_reason, event.stop_sequence)
        self._end = ending(choice, self._losses)
        members = own_members(event.provider_fields, self._losses)
        if self._head is not None and members:
            self._head.members = members
        mark_cut(self._writer.items, event.reason)
        return self._seal(self._writer.items[-1]) if self._writer.items else b""

    def _of_part(self, event: PartStart | CitationDelta | PartEnd) -> bytes:
        if isinstance(event, PartStart):
            opened = self._open[event.index] = _Open(event.part)
            # Reasoning may be encrypted only: it gets a piece with its first text, or none.
            waits = isinstance(event.part, Reasoning) and not event.part.text
            return b"" if waits else self._place(opened, event.part)
        if isinstance(event, CitationDelta):
            return self._cite(self._open[event.index], encode_citations((event.citation,), self._losses))
        return self._part_end(self._open.pop(event.index), event)

    def _place(self, opened: _Open, part: Part) -> bytes:
        """Write what begins: the item, if the part does not join one, the piece, and what is known of it."""
        last = self._writer.items[-1] if self._writer.items else None
        spot = self._writer.add(part)
        if spot is None:
            return b""
        opened.put(spot)
        text, annotations = _taken_out(spot)
        text = part.arguments if isinstance(part, ToolCall) else text
        written = b""
        if spot.item is not last:
            written += self._seal(last) if last is not None else b""
            written += self._event("response.output_item.added", output_index=spot.item.number, item=_begun(spot.item))
        spot.item.growing += 1
        if spot.list_name:
            written += self._event(f"{PART_STEMS[spot.list_name]}.added", **opened.place, part=spot.target)
        if isinstance(part, Text):
            self._text, self._tokens = spot.target, []
        if not spot.member and not isinstance(part, Reasoning):
            return written  # comes whole: its PartEnd is its end
        return written + self._delta(opened, text) + self._cite(opened, annotations)

    def _delta(self, opened: _Open, text: str) -> bytes:
        if not text:
            return b""
        if opened.spot is None:
            if not isinstance(opened.part, Reasoning):
                return b""
            return self._place(opened, replace(opened.part, text=text))
        opened.texts.append(text)
        return opened.head + self._dump(text) + b',"sequence_number":%d}\n\n' % self._next()

    def _cite(self, opened: _Open, annotations: list[Json]) -> bytes:
        written = b""
        if opened.spot is None:
            return written
        for annotation in annotations:
            held = opened.spot.target["annotations"]
            held.append(annotation)
            place = {**opened.place, "annotation_index": len(held) - 1}
            written += self._event("response.output_text.annotation.added", **place, annotation=annotation)
        return written

    def _add_logprobs(self, logprobs: Mapping[str, Json]) -> None:
        tokens = logprobs.get("content")
        if self._text is None or not isinstance(tokens, list) or len(logprobs) > 1:
            self._losses.add("logprobs", "the format tells them of texts only")
        # A text that brought its own, in its opaque data, keeps those.
        elif self._text.setdefault("logprobs", self._tokens) is self._tokens:
            self._tokens += [encode_token(token) for token in tokens]

    def _part_end(self, opened: _Open, event: PartEnd) -> bytes:
        written = b""
        if opened.spot is None and isinstance(opened.part, Reasoning):
            opaque = merge_opaque(opened.part.opaque, event.opaque)
            written = self._place(opened, replace(opened.part, opaque=opaque))
        spot = opened.spot
        own = self._losses.own(event.opaque)
        if spot is None:
            return b""
        spot.absorb(own)
        if spot.member:
            written += self._text_end(opened, spot)
        spot.item.growing -= 1
        return written + (self._seal(spot.item) if spot.item.sealed else b"")

    def _text_end(self, opened: _Open, spot: Spot) -> bytes:
        written = b""
        if spot.target["type"] == "function_call" and not opened.texts:
            # A function without arguments is "{}" here: clients give the string to a JSON reader.
            written = self._delta(opened, "{}")
        text = spot.target[spot.member] = "".join(opened.texts)
        more = {"logprobs": spot.target.get("logprobs", [])} if spot.target["type"] == "output_text" else {}
        written += self._event(f"{STEMS[spot.target['type']]}.done", **opened.place, **{spot.member: text}, **more)
        if spot.list_name:
            written += self._event(f"{PART_STEMS[spot.list_name]}.done", **opened.place, part=spot.target)
        return written

    def _seal(self, item: Item) -> bytes:
        """Nothing joins the item any more: it is done once the last part in it has ended."""
        item.sealed = True
        if item.growing or item in self._done:
            return b""
        self._done.append(item)
        if self._text is not None and any(self._text is piece for piece in item.wire.get("content") or ()):
            self._text = None
        return self._event("response.output_item.done", output_index=item.number, item=item.wire)


def _taken_out(spot: Spot) -> tuple[str, list[Json]]:
    """The text and annotations that the part began with; they are written as events of their own."""
    if not spot.member:
        return "", []
    text, spot.target[spot.member] = spot.target[spot.member], ""
    annotations = spot.target.get("annotations", [])
    if annotations:
        spot.target["annotations"] = []
    return text, annotations


def _begun(item: Item) -> dict[str, Json]:
    """The item as it begins, without its pieces."""
    if item.wire["type"] not in BEGUN:
        return item.wire
    lists: dict[str, Json] = {name: [] for name in INDEX_NAMES if name in item.wire}
    status = {"status": "in_progress"} if "status" in item.wire else {}
    return {**item.wire, **lists, **status}
