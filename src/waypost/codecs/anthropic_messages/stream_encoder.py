"""Canonical events to Anthropic's stream.

Blocks of this format follow one another, canonical parts may interleave: a part that is not the current one waits
until the current one ends. The head waits for the next event, so that usage known at once stands in it; it always
has both counts, which SDKs need. The invariant: message_stop is written by `finish` only, never after Failed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from waypost.chat import (
    CitationDelta,
    Event,
    Failed,
    Finish,
    Json,
    LogprobsDelta,
    Opaque,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    ResponseStart,
    Text,
    ToolCall,
    Usage,
    UsageUpdate,
)
from waypost.codecs.anthropic_messages.blocks import Block, Encoding, encode_citations, encode_part
from waypost.codecs.anthropic_messages.errors import error_body
from waypost.codecs.anthropic_messages.response import message_head, stop_reason
from waypost.codecs.anthropic_messages.usage import encode_usage
from waypost.codecs.anthropic_messages.wire import FAMILY, Losses, own
from waypost.codecs.arguments import is_json_object
from waypost.codecs.codec import Loss
from waypost.codecs.custom_tools import INPUT
from waypost.codecs.jsonbytes import dump
from waypost.codecs.sse import encode_event

_DELTAS: Final[dict[type[Part], tuple[str, str]]] = {
    Text: ("text_delta", "text"),
    Refusal: ("text_delta", "text"),
    Reasoning: ("thinking_delta", "thinking"),
    ToolCall: ("input_json_delta", "partial_json"),
}
"""The delta that makes each part grow: its type, and the member that holds the text."""


class _Current:
    """The block being written. `index` is its place on the wire, `part` what it began with."""

    __slots__ = ("growth", "index", "key", "part", "pieces", "what")

    def __init__(self, key: int, index: int, part: Part) -> None:
        self.key = key
        self.index = index
        self.part = part
        self.pieces: list[str] = []
        self.what = f"choices[0].parts[{key}]"
        kind, member = _DELTAS.get(type(part), ("", ""))
        # All of a delta event but the text and what closes it, which is the same for each delta of a block.
        self.growth = (
            "event: content_block_delta\n"
            f'data: {{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{member}":'
        ).encode()


class AnthropicStreamEncoder:
    """One stream's state. Give it every event in order, then call `finish` if the last was no Failed."""

    def __init__(self) -> None:
        self._found = Losses()
        self._to = Encoding(self._found, is_request=False)
        self._start: ResponseStart | None = None
        self._usage = Usage()
        self._usage_extras: dict[str, Json] = {}
        self._current: _Current | None = None
        self._waiting: dict[int, list[PartStart | PartDelta | CitationDelta | PartEnd]] = {}
        self._next_index = 0
        self._refused = False

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What could not be carried over so far."""
        return self._found.found()

    def encode(self, event: Event) -> bytes:
        """The bytes to send for this event; may be empty."""
        current = self._current
        if type(event) is PartDelta and current is not None and current.key == event.index and event.choice == 0:
            return self._grow(current, event.text)  # nearly all of a stream
        if isinstance(event, UsageUpdate):
            self._usage = self._usage.merge(event.usage)
            return b""
        if isinstance(event, ResponseStart):
            self._start = event
            return b""
        if isinstance(event, Failed):
            return encode_event(error_body(event.error), event="error")
        head = b"" if self._start is None else self._write_head(self._start)
        if event.choice != 0:
            self._found.add("choices", "Anthropic gives one answer a request: the first was written.")
            return head
        if isinstance(event, Finish):
            return head + self._write_finish(event)
        if isinstance(event, LogprobsDelta):
            self._found.add("choices[0].logprobs", "Anthropic reports no log-probabilities.")
            return head
        return head + self._take(event)

    def finish(self) -> bytes:
        """The bytes that end the stream. Must not be called after Failed."""
        return self._write("message_stop", {})

    def _write(self, kind: str, members: dict[str, Json]) -> bytes:
        data, repaired = dump({"type": kind, **members})
        if repaired:
            self._note_repair()
        return encode_event(data, event=kind)

    def _note_repair(self) -> None:
        self._found.add("choices[0].parts", "Halves of surrogate pairs, which are no text, were written as U+FFFD.")

    def _write_head(self, start: ResponseStart) -> bytes:
        self._start = None
        self._found.foreign("provider_fields", start.provider_fields)
        if start.created is not None:
            self._found.add("created", "Anthropic's messages carry no time.")
        fields = dict(start.provider_fields.get(FAMILY, {}))
        self._usage_extras = fields.pop("usage", {})
        message = {
            **message_head(start.id, start.model),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": encode_usage(self._usage, self._found, self._usage_extras),
            **fields,
        }
        return self._write("message_start", {"message": message})

    def _write_finish(self, event: Finish) -> bytes:
        self._found.foreign("provider_fields", event.provider_fields)
        for name in ("input_tokens", "output_tokens"):
            if getattr(self._usage, name) is None:
                self._found.add(f"usage.{name}", "It was not reported; the format requires a number: written as 0.")
        fields = dict(event.provider_fields.get(FAMILY, {}))
        extras = {**self._usage_extras, **fields.pop("usage", {})}
        word = stop_reason(event.reason, event.raw_reason, event.stop_sequence, self._found, refused=self._refused)
        return self._write(
            "message_delta",
            {
                "delta": {"stop_reason": word, "stop_sequence": event.stop_sequence, **fields},
                "usage": encode_usage(self._usage, self._found, extras),
            },
        )

    def _take(self, event: PartStart | PartDelta | CitationDelta | PartEnd) -> bytes:
        """An event of a part: written if the part is current or may become it, else kept until it may."""
        current = self._current
        if current is not None and current.key != event.index:
            self._waiting.setdefault(event.index, []).append(event)
            return b""
        written = self._write_part_event(event)
        if self._current is None:
            written += self._write_waiting()
        return written

    def _write_waiting(self) -> bytes:
        written = b""
        while self._current is None and self._waiting:
            events = self._waiting.pop(next(iter(self._waiting)))
            written += b"".join(self._write_part_event(event) for event in events)
        return written

    def _write_part_event(self, event: PartStart | PartDelta | CitationDelta | PartEnd) -> bytes:
        current = self._current
        if isinstance(event, PartStart):
            return self._open(event)
        if current is None:
            return b""  # its block was dropped at its start
        if isinstance(event, PartDelta):
            return self._grow(current, event.text)
        if isinstance(event, CitationDelta):
            cited = encode_citations((event.citation,), self._to, current.what)
            return b"".join(self._delta(current, {"type": "citations_delta", "citation": each}) for each in cited)
        return self._close(current, event.opaque)

    def _open(self, event: PartStart) -> bytes:
        current = _Current(event.index, self._next_index, event.part)
        head, then = self._begin(event.part, current)
        if head is None:
            return b""
        self._current = current
        self._next_index += 1
        return self._write("content_block_start", {"index": current.index, "content_block": head}) + then

    def _begin(self, part: Part, current: _Current) -> tuple[Block | None, bytes]:
        """The block as it starts, empty where it grows by deltas, and the deltas for what is known already."""
        empty, text, citations = _emptied(part)
        block = encode_part(empty, self._to, current.what)
        if block is None:
            return None, b""
        self._refused |= isinstance(part, Refusal)
        if isinstance(part, ToolCall):
            block["input"] = {}
            if part.kind == "custom":
                text = f'{{"{INPUT}":"' + _inside_string(text)
        if block.get("type") in ("server_tool_use", "mcp_tool_use") and type(block.get("input")) is dict:
            # As Anthropic streams it; readers that build the input from deltas alone would miss it in the start.
            text = msgspec.json.encode(block["input"]).decode()
            block = {**block, "input": {}}
            return block, self._delta(current, {"type": "input_json_delta", "partial_json": text})
        written = self._grow(current, text, is_head=True) if text else b""
        for each in encode_citations(citations, self._to, current.what):
            written += self._delta(current, {"type": "citations_delta", "citation": each})
        return block, written

    def _grow(self, current: _Current, text: str, *, is_head: bool = False) -> bytes:
        if isinstance(current.part, ToolCall):
            if current.part.kind == "custom" and not is_head:
                text = _inside_string(text)
            current.pieces.append(text)
        data, repaired = dump(text)
        if repaired:
            self._note_repair()
        return current.growth + data + b"}}\n\n"

    def _delta(self, current: _Current, delta: dict[str, Json]) -> bytes:
        return self._write("content_block_delta", {"index": current.index, "delta": delta})

    def _close(self, current: _Current, opaque: Opaque) -> bytes:
        self._current = None
        self._found.foreign(f"{current.what}.opaque", opaque)
        written = b""
        part = current.part
        if isinstance(part, ToolCall):
            if part.kind == "custom":
                written = self._delta(current, {"type": "input_json_delta", "partial_json": '"}'})
            elif (text := "".join(current.pieces)).strip() and not is_json_object(text):
                self._found.add(f"{current.what}.arguments", "They are no JSON object, which input must be.")
        late = own(opaque)
        signature = late.pop("signature", None)
        if isinstance(part, Reasoning) and signature is None:
            signature = own(part.opaque).get("signature")
        if signature is not None:
            written += self._delta(current, {"type": "signature_delta", "signature": signature})
        for name in late:
            self._found.add(f"{current.what}.opaque[{FAMILY}][{name}]", "It came too late to be written in a stream.")
        return written + self._write("content_block_stop", {"index": current.index})


def _emptied(part: Part) -> tuple[Part, str, tuple[Any, ...]]:
    """The part without what deltas will bring; that text; those citations."""
    match part:
        case Text():
            return Text("", opaque=part.opaque), part.text, part.citations
        case Refusal():
            return Refusal("", part.opaque), part.text, ()
        case Reasoning() if part.text:
            return Reasoning("", _without_signature(part.opaque)), part.text, ()
        case Reasoning() if "data" not in own(part.opaque):
            return Reasoning("", _without_signature(part.opaque)), "", ()
        case ToolCall():
            return replace(part, arguments=""), part.arguments, ()
        case _:
            return part, "", ()


def _without_signature(opaque: Opaque) -> Opaque:
    return {
        family: {name: value for name, value in data.items() if name != "signature" or family != FAMILY}
        for family, data in opaque.items()
    }


def _inside_string(text: str) -> str:
    """The text as it stands between the quotes of a JSON string."""
    return dump(text)[0].decode()[1:-1]
