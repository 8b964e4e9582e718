"""Canonical events to Google's response chunks, one SSE event each, ended by CR LF as Google writes them.

Text streams piece by piece; what comes whole on this wire (function calls, media, signed text) is written when it
ends. Parts follow one another here, canonical ones may interleave: a part waits until those begun before it have
ended. The invariant: finishReason is written at Finish only, with the usage; there is no other terminal mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
    ResponseStart,
    Text,
    ToolCall,
    Unknown,
    Usage,
    UsageUpdate,
)
from waypost.chat.collect import merge_opaque
from waypost.codecs.codec import Loss
from waypost.codecs.gemini.errors import error_body
from waypost.codecs.gemini.parts import Encoding, encode_part
from waypost.codecs.gemini.reasons import wire_reason
from waypost.codecs.gemini.response import (
    BORDER,
    FEEDBACK,
    USAGE,
    candidate,
    head,
    is_blocked,
    logprobs_member,
    streams_as,
    top_level,
)
from waypost.codecs.gemini.usage import encode_usage
from waypost.codecs.gemini.wire import Losses, Members, graft, own
from waypost.codecs.jsonbytes import dump


class _Part:
    """A part that has begun. `pieces` is the text that was not written yet."""

    __slots__ = ("ended", "late", "part", "pieces", "what", "written")

    def __init__(self, event: PartStart) -> None:
        self.part = event.part
        self.what = f"choices[{event.choice}].parts[{event.index}]"
        self.pieces: list[str] = []
        self.ended = False
        self.written = False
        self.late: Opaque = {}

    def take(self) -> str:
        """The text that waits, which then waits no more."""
        text = "".join(self.pieces)
        self.pieces.clear()
        return text


class _Choice:
    """One candidate: the parts that are not written whole yet, by the order in which they began."""

    __slots__ = ("answered", "last", "open")

    def __init__(self) -> None:
        self.open: dict[int, _Part] = {}
        self.last: type[Part] | None = None
        self.answered = False


class GeminiStreamEncoder:
    """One stream's state. See `codecs.codec.StreamEncoder`."""

    def __init__(self) -> None:
        self._found = Losses()
        self._to = Encoding(self._found, is_request=False)
        self._choices: dict[int, _Choice] = {}
        self._head: Members = {}
        self._fields: Members = {}
        self._usage = Usage()

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What could not be carried over so far."""
        return self._found.found()

    def encode(self, event: Event) -> bytes:
        """The chunks to send for this event; may be empty."""
        match event:
            case PartDelta() | PartStart() | PartEnd() | CitationDelta():
                choice = self._choices.setdefault(event.choice, _Choice())
                self._note(event, choice)
                return self._flush(choice, event.choice)
            case UsageUpdate():
                self._usage = self._usage.merge(event.usage)
            case ResponseStart():
                self._head = head(event.id, event.model, event.created)
                self._take_fields(event.provider_fields)
            case LogprobsDelta():
                member = logprobs_member(event.data, self._found, f"choices[{event.choice}]")
                return self._write({"candidates": [{"index": event.choice, **member}]}) if member else b""
            case Finish():
                return self._finish(event)
            case Failed():
                return b"data: " + error_body(event.error) + b"\r\n\r\n"
        return b""

    def finish(self) -> bytes:
        """Nothing: the last Finish has ended the stream."""
        return b""

    def _take_fields(self, fields: Mapping[str, Mapping[str, Json]]) -> None:
        self._found.foreign("provider_fields", fields)
        self._fields |= own(fields)

    def _write(self, chunk: Members) -> bytes:
        data, repaired = dump(graft(chunk, self._head))
        if repaired:
            self._found.repaired("choices")
        return b"data: " + data + b"\r\n\r\n"

    def _content(self, index: int, part: Members) -> bytes:
        self._choices[index].answered = True
        return self._write({"candidates": [candidate(index, [part])]})

    def _note(self, event: PartStart | PartDelta | PartEnd | CitationDelta, choice: _Choice) -> None:
        if isinstance(event, PartStart):
            choice.open[event.index] = _begun(event)
        part = choice.open[event.index]
        if isinstance(event, PartDelta):
            part.pieces.append(event.text)
        elif isinstance(event, CitationDelta) or (isinstance(part.part, Text) and part.part.citations):
            self._found.add(
                f"{part.what}.citations", "Gemini's text carries none: its sources stand beside the answer."
            )
        if isinstance(event, PartEnd):
            part.ended = True
            part.late = event.opaque

    def _flush(self, choice: _Choice, index: int) -> bytes:
        """What may be written now: the growth of the first open part, and every part that has ended by turn."""
        written = b""
        for key, part in list(choice.open.items()):
            kind = streams_as(part.part)
            if kind is None:
                written += self._whole(part, index) if part.ended else b""
            else:
                written += self._grown(part, choice, index)
            if not part.ended:
                break
            if part.written:
                choice.last = kind
            del choice.open[key]
        return written

    def _grown(self, part: _Part, choice: _Choice, index: int) -> bytes:
        begun: Any = part.part
        piece = replace(begun, text=part.take(), opaque=merge_opaque(begun.opaque, part.late))
        wire = encode_part(piece, self._to, part.what)
        if wire is None:
            return b""
        if not part.written and choice.last is streams_as(begun):
            self._found.add(f"choices[{index}].parts", BORDER)
        part.written = True
        return self._content(index, wire)

    def _whole(self, part: _Part, index: int) -> bytes:
        whole: Any = part.part
        text = part.take()
        if isinstance(whole, ToolCall):
            whole = replace(whole, arguments=text)
        elif text:
            whole = replace(whole, text=text)
        if part.late and not isinstance(whole, Unknown):
            whole = replace(whole, opaque=merge_opaque(whole.opaque, part.late))
        wire = encode_part(whole, self._to, part.what)
        part.written = wire is not None
        return b"" if wire is None else self._content(index, wire)

    def _finish(self, event: Finish) -> bytes:
        self._take_fields(event.provider_fields)
        what = f"choices[{event.choice}]"
        if event.stop_sequence is not None:
            self._found.add(f"{what}.stop_sequence", "Gemini does not tell which one was hit.")
        extras = self._fields.get(f"candidates[{event.choice}]", {})
        usage = encode_usage(self._usage, self._fields.get(USAGE, {}), self._found)
        tail = {**({USAGE: usage} if usage else {}), **top_level(self._fields)}
        if is_blocked(tail.get(FEEDBACK), any(choice.answered for choice in self._choices.values())):
            return self._write(tail)
        reason = wire_reason(event.reason, event.raw_reason, self._found, what)
        ended = {**candidate(event.choice, [{"text": ""}]), "finishReason": reason, **extras}
        return self._write({"candidates": [ended], **tail})


def _begun(event: PartStart) -> _Part:
    part = _Part(event)
    known = part.part
    if isinstance(known, ToolCall):
        part.pieces.append(known.arguments)
    elif isinstance(text := getattr(known, "text", None), str):
        part.pieces.append(text)
    return part
