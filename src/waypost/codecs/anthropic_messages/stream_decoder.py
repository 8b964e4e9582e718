"""Anthropic's stream events to canonical ones.

A text, thinking or tool-input delta, nearly all of a stream, takes the fast way: one typed decode, one look-up. All
other events go through a table from type to method. Blocks that cannot grow in the canonical model (server tools,
unknown ones) are held until they end. The invariant: Finish is given at message_stop only, and after Failed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final, TypeAlias

import msgspec

from waypost.chat import (
    Citation,
    CitationDelta,
    Event,
    Failed,
    Finish,
    Json,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    ResponseStart,
    Text,
    ToolCall,
    UsageUpdate,
)
from waypost.codecs.anthropic_messages.blocks import decode_block
from waypost.codecs.anthropic_messages.errors import error_of, is_error
from waypost.codecs.anthropic_messages.response import finish_reason, provider_fields
from waypost.codecs.anthropic_messages.usage import decode_usage, usage_extras
from waypost.codecs.anthropic_messages.wire import FAMILY, NAME, keep_start_input
from waypost.codecs.jsonbytes import JsonError, parse_reply
from waypost.codecs.reading import WireError, an_object, optional, required, rest
from waypost.codecs.replies import excerpt
from waypost.codecs.sse import SseEvent
from waypost.errors import IncompleteStream, MalformedResponse, ProviderError

Members: TypeAlias = dict[str, Json]


class _TextDelta(msgspec.Struct, gc=False, tag_field="type", tag="text_delta"):
    text: str


class _ThinkingDelta(msgspec.Struct, gc=False, tag_field="type", tag="thinking_delta"):
    text: str = msgspec.field(name="thinking")


class _InputDelta(msgspec.Struct, gc=False, tag_field="type", tag="input_json_delta"):
    text: str = msgspec.field(name="partial_json")


class _BlockDelta(msgspec.Struct, gc=False, tag_field="type", tag="content_block_delta"):
    index: int
    delta: _TextDelta | _ThinkingDelta | _InputDelta


_decode_delta = msgspec.json.Decoder(_BlockDelta).decode
_NOT_A_PLAIN_DELTA = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_GROWS_BY: Final[dict[type[Part], type]] = {Text: _TextDelta, Reasoning: _ThinkingDelta, ToolCall: _InputDelta}
"""Parts that are given as they grow, and the deltas that make them. All others are held until their end."""
_TEXT_OF: Final = {_TextDelta: "text", _ThinkingDelta: "thinking", _InputDelta: "partial_json"}
_KINDS: Final = {"text_delta": _TextDelta, "thinking_delta": _ThinkingDelta, "input_json_delta": _InputDelta}

_BEFORE_START: Final = ("message_start", "error", "ping")


class _OpenBlock:
    """A content block that has begun. `wire` is kept for held blocks only."""

    __slots__ = ("extras", "grown", "grows_by", "held", "pieces", "whole_input")

    def __init__(self, grows_by: type | None, wire: Members | None = None) -> None:
        self.grows_by = grows_by
        self.held = wire
        self.grown = False
        self.whole_input = ""
        self.extras: Members = {}
        self.pieces: list[str] = []


class AnthropicStreamDecoder:
    """One stream's state. Feed it whole events in order, then `finish`."""

    __slots__ = ("_blocks", "_complete", "_ended", "_extras", "_fields", "_finish", "_seen", "_started", "_usage")

    def __init__(self) -> None:
        self._started = False
        self._ended = False
        self._complete = False
        self._blocks: dict[int, _OpenBlock] = {}
        self._seen: set[int] = set()
        self._usage: Members = {}
        self._fields: Members = {}
        self._extras: Members = {}
        self._finish = Finish("other")

    def feed(self, event: SseEvent) -> Sequence[Event]:
        """The canonical events that this wire event completes."""
        if self._ended:
            return ()
        try:
            wire = _decode_delta(event.data)
        except _NOT_A_PLAIN_DELTA:
            return self._feed_other(event.data)
        block = self._blocks.get(wire.index)
        if block is None or block.grows_by is not type(wire.delta):
            return self._feed_other(event.data)
        text = wire.delta.text
        if not text:
            return ()
        block.grown = True
        return (PartDelta(wire.index, text),)

    def finish(self) -> Sequence[Event]:
        """The end of the bytes: Failed(IncompleteStream) unless message_stop or an error was seen."""
        if self._ended:
            return ()
        return self._fail(IncompleteStream("The stream ended before message_stop.", hint="Ask again."))

    @property
    def finished(self) -> bool:
        """Was message_stop seen?"""
        return self._complete

    def _fail(self, error: ProviderError) -> Sequence[Event]:
        self._ended = True
        return (Failed(error),)

    def _feed_other(self, data: bytes) -> Sequence[Event]:
        try:
            return self._dispatch(an_object(parse_reply(data), ""), data)
        except JsonError as error:
            return self._fail(MalformedResponse(f"An event is not valid JSON: {error}. It begins: {excerpt(data, 80)}"))
        except WireError as error:
            return self._fail(MalformedResponse(f"An event is not in Anthropic's format: {error}."))

    def _dispatch(self, event: Members, data: bytes) -> Sequence[Event]:
        kind = "error" if is_error(event) else required(event, "type", str, "")
        handler = self._handlers.get(kind)
        # New event types may come at any time. Source: Anthropic API, Versioning.
        if handler is None:
            return ()
        if not self._started and kind not in _BEFORE_START:
            raise WireError(kind, "came before message_start")
        return handler(self, event, data)

    def _on_message_start(self, event: Members, _data: bytes) -> Sequence[Event]:
        if self._started:
            raise WireError("message_start", "came twice")
        message = required(event, "message", dict, "")
        if optional(message, "content", list, "message"):
            raise WireError("message.content", "Input should be empty: content comes in blocks")
        usage = optional(message, "usage", dict, "message")
        self._started = True
        self._extras = usage_extras(usage or {})
        start = ResponseStart(
            id=optional(message, "id", str, "message") or "",
            model=optional(message, "model", str, "message") or "",
            provider_fields=provider_fields(message),
        )
        return (start, *self._usage_update(usage, "message.usage"))

    def _usage_update(self, usage: Members | None, path: str) -> Sequence[Event]:
        if usage is None:
            return ()
        # Merged before it is read: the whole prompt is a sum of members that a later event may leave out.
        self._usage |= {name: value for name, value in usage.items() if value is not None}
        return (UsageUpdate(decode_usage(self._usage, path)),)

    def _on_block_start(self, event: Members, data: bytes) -> Sequence[Event]:
        index = required(event, "index", int, "")
        wire = required(event, "content_block", dict, "")
        if index in self._seen or index < 0:
            raise WireError("index", f"block {index} cannot start now")
        if wire.get("type") == "tool_use":
            if wire.get("input"):
                keep_start_input(wire, data)
            else:
                wire["input"] = {}
        part = decode_block(wire, "content_block")
        self._seen.add(index)
        block = self._blocks[index] = _OpenBlock(_GROWS_BY.get(type(part)), wire)
        if block.grows_by is None:
            return ()
        block.held = None
        if isinstance(part, ToolCall):
            # Some servers send the whole input here. It counts only if no deltas follow.
            block.whole_input = part.arguments
            part = replace(part, arguments="")
        return (PartStart(index, part),)

    def _on_block_delta(self, event: Members, _data: bytes) -> Sequence[Event]:
        index = required(event, "index", int, "")
        delta = required(event, "delta", dict, "")
        kind = required(delta, "type", str, "delta")
        block = self._open_block(index)
        if block.held is not None:
            _grow_held(block, block.held, delta)
            return ()
        grows_by = _KINDS.get(kind)
        if grows_by is not None and grows_by is block.grows_by:
            # Here by the slow way: its text had to be repaired.
            block.grown = True
            return (PartDelta(index, required(delta, _TEXT_OF[grows_by], str, "delta")),)
        if grows_by is not None or (kind == "citations_delta" and block.grows_by is not _TextDelta):
            raise WireError("delta.type", f"a {kind} does not fit the block it is for")
        if kind == "citations_delta":
            return (CitationDelta(index, Citation(NAME, required(delta, "citation", dict, "delta"))),)
        if kind == "signature_delta":
            block.extras["signature"] = required(delta, "signature", str, "delta")
        else:
            _grow(block.extras, delta)
        return ()

    def _on_block_stop(self, event: Members, _data: bytes) -> Sequence[Event]:
        index = required(event, "index", int, "")
        block = self._open_block(index)
        del self._blocks[index]
        if block.held is not None:
            _set_input(block.held, "".join(block.pieces))
            return (PartStart(index, decode_block(block.held, "content_block")), PartEnd(index))
        extras = {name: value for name, value in block.extras.items() if value not in ("", None)}
        end = PartEnd(index, opaque={FAMILY: extras} if extras else {})
        if block.whole_input and not block.grown:
            return (PartDelta(index, block.whole_input), end)
        return (end,)

    def _open_block(self, index: int) -> _OpenBlock:
        block = self._blocks.get(index)
        if block is None:
            raise WireError("index", f"block {index} is not open")
        return block

    def _on_message_delta(self, event: Members, _data: bytes) -> Sequence[Event]:
        delta = optional(event, "delta", dict, "") or {}
        usage = optional(event, "usage", dict, "")
        raw_reason = optional(delta, "stop_reason", str, "delta")
        stop_sequence = optional(delta, "stop_sequence", str, "delta")
        self._fields |= {**rest(delta, "stop_reason", "stop_sequence"), **rest(event, "type", "delta", "usage")}
        if extras := usage_extras(usage or {}):
            self._extras |= extras
            self._fields["usage"] = self._extras
        if raw_reason is not None:
            self._finish = Finish(finish_reason(raw_reason), raw_reason, stop_sequence)
        return self._usage_update(usage, "usage")

    def _on_message_stop(self, _event: Members, _data: bytes) -> Sequence[Event]:
        if self._blocks:
            raise WireError("message_stop", f"came while block {min(self._blocks)} was open")
        self._ended = self._complete = True
        return (replace(self._finish, provider_fields={FAMILY: self._fields}) if self._fields else self._finish,)

    def _on_error(self, event: Members, _data: bytes) -> Sequence[Event]:
        return self._fail(error_of(event))

    def _on_ping(self, _event: Members, _data: bytes) -> Sequence[Event]:
        return ()

    _handlers: ClassVar[Mapping[str, Callable[[AnthropicStreamDecoder, Members, bytes], Sequence[Event]]]] = {
        "message_start": _on_message_start,
        "content_block_start": _on_block_start,
        "content_block_delta": _on_block_delta,
        "content_block_stop": _on_block_stop,
        "message_delta": _on_message_delta,
        "message_stop": _on_message_stop,
        "error": _on_error,
        "ping": _on_ping,
    }


def _grow_held(block: _OpenBlock, wire: Members, delta: Members) -> None:
    """A delta for a block that is held: the members it adds to."""
    if "partial_json" in delta:
        block.pieces.append(required(delta, "partial_json", str, "delta"))
    if "citation" in delta:
        _grow(wire, {"citations": [delta["citation"]]})
    _grow(wire, {name: value for name, value in delta.items() if name not in ("partial_json", "citation")})


def _grow(target: Members, delta: Members) -> None:
    """Each member of a delta this version does not know joins what is there: text to text, list to list."""
    for name, value in delta.items():
        present: Json = target.get(name)
        if name == "type" or value is None:
            continue
        joined = type(present) is type(value) and type(value) in (str, list)
        target[name] = present + value if joined else value


def _set_input(wire: Members, text: str) -> None:
    if not text:
        return
    try:
        wire["input"] = parse_reply(text.encode())
    except JsonError:
        # Cut off by max_tokens, for instance: kept as it came rather than lost.
        wire["partial_json"] = text
