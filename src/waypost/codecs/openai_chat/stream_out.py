"""A streamed answer, encoded: canonical events in, chunks out.

Every byte string that `encode` gives is whole SSE events. The invariant: `[DONE]` is written by `finish` alone, and
never after Failed. A hot path: what all chunks share is encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from waypost.chat import (
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
    Refusal,
    ResponseStart,
    Text,
    ToolCall,
    Unknown,
    Usage,
    UsageUpdate,
)
from waypost.codecs.codec import Loss
from waypost.codecs.jsonbytes import dump
from waypost.codecs.openai_chat.dialect import Losses, graft
from waypost.codecs.openai_chat.errors import error_body
from waypost.codecs.openai_chat.parts import encode_tool_call
from waypost.codecs.openai_chat.request import REPAIRED
from waypost.codecs.openai_chat.response import add_service_tier, carried, encode_usage, own_citations, own_fields
from waypost.codecs.openai_chat.wire import wire_reason
from waypost.codecs.sse import encode_event

DELTA_NAMES: Final[dict[type[Part], str]] = {Text: "content", Reasoning: "reasoning_content", Refusal: "refusal"}

EVERY_CHUNK: Final = frozenset({"system_fingerprint", "service_tier"})
"""Provider fields that each chunk repeats; the others are told in the first."""


class ChatStreamEncoder:
    """One stream's state. See `codecs.codec.StreamEncoder`."""

    __slots__ = (
        "_begun",
        "_calls",
        "_clock",
        "_failed",
        "_head",
        "_losses",
        "_open",
        "_shared",
        "_tail",
        "_usage",
        "_with_usage",
    )

    def __init__(self, clock: Callable[[], float], *, include_usage: bool = True) -> None:
        self._clock = clock
        self._with_usage = include_usage
        self._losses = Losses()
        self._shared: dict[str, Json] = {}
        self._head = b""
        # OpenAI: with usage asked for, every chunk but the last says that it has none.
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._begun: set[int] = set()
        self._open: dict[tuple[int, int], bytes | _OpenCall | None] = {}
        self._calls: dict[int, int] = {}
        self._usage = Usage()
        self._failed = False

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What could not be carried over so far."""
        return self._losses.listed()

    def encode(self, event: Event) -> bytes:
        """The chunks for one event; none if it has no place in the format."""
        if self._failed:
            return b""
        match event:
            case PartDelta():
                return self._delta(event)
            case PartStart():
                return self._part_start(event)
            case PartEnd():
                return self._part_end(event)
            case UsageUpdate():
                self._usage = self._usage.merge(event.usage)
                return b""
            case ResponseStart():
                return self._start(event)
            case Failed():
                self._failed = True
                return encode_event(error_body(event.error))
            case LogprobsDelta() | CitationDelta() | Finish():
                return self._rest(event)

    def _rest(self, event: LogprobsDelta | CitationDelta | Finish) -> bytes:
        if isinstance(event, LogprobsDelta):
            return self._chunk(event.choice, b"{}", logprobs=self._dump(event.data))
        if isinstance(event, CitationDelta):
            own = own_citations((event.citation,), self._losses)
            return self._delta_chunk(event.choice, {"annotations": [own[0].data]}) if own else b""
        finish = self._dump(wire_reason(event.reason, event.raw_reason, self._losses))
        if event.stop_sequence is not None:
            finish += b',"stop_reason":' + self._dump(event.stop_sequence)
        self._head = self._head_of({**own_fields(event.provider_fields, self._losses), **self._shared})
        chunk = self._chunk(event.choice, b"{}", finish=finish)
        self._head = self._head_of(self._shared)
        return chunk

    def finish(self) -> bytes:
        """Usage, if it was asked for and is known, and the terminal marker."""
        if self._failed:
            return b""
        usage = encode_usage(self._usage, self._losses)
        last = b""
        if self._with_usage and usage is not None:
            chunk = {**self._shared, "choices": [], "usage": usage}
            add_service_tier(chunk, self._usage, self._losses)
            last = b"data: " + self._dump(chunk) + b"\n\n"
        return last + b"data: [DONE]\n\n"

    def _start(self, event: ResponseStart) -> bytes:
        fields = own_fields(event.provider_fields, self._losses)
        self._shared = {
            "id": event.id,
            "object": "chat.completion.chunk",
            "created": int(self._clock()) if event.created is None else event.created,
            "model": event.model,
        }
        self._shared |= {name: value for name, value in fields.items() if name in EVERY_CHUNK}
        self._head = self._head_of({**fields, **self._shared})
        opening = self._opening(0)
        self._head = self._head_of(self._shared)
        return opening

    def _head_of(self, shared: Mapping[str, Json]) -> bytes:
        return b"data: " + self._dump(shared)[:-1] + b',"choices":['

    def _opening(self, choice: int) -> bytes:
        self._begun.add(choice)
        return self._chunk(choice, b'{"role":"assistant","content":"","refusal":null}')

    def _chunk(self, choice: int, delta: bytes, *, logprobs: bytes = b"null", finish: bytes = b"null") -> bytes:
        opening = b"" if choice in self._begun else self._opening(choice)
        body = b'{"index":%d,"delta":%b,"logprobs":%b,"finish_reason":%b}' % (choice, delta, logprobs, finish)
        return opening + self._head + body + self._tail

    def _delta_chunk(self, choice: int, delta: Mapping[str, Json]) -> bytes:
        return self._chunk(choice, self._dump(delta))

    def _dump(self, value: Json) -> bytes:
        wire, repaired = dump(value)
        if repaired:
            self._losses.add(*REPAIRED)
        return wire

    def _delta(self, event: PartDelta) -> bytes:
        held = self._open.get((event.choice, event.index))
        if isinstance(held, bytes):
            return self._chunk(event.choice, held + self._dump(event.text) + b"}")
        if held is None or not event.text:
            return b""
        held.empty = False
        return self._delta_chunk(event.choice, {"tool_calls": [held.piece(event.text)]})

    def _part_start(self, event: PartStart) -> bytes:
        part = event.part
        key = (event.choice, event.index)
        self._open[key] = None
        if not carried(part, self._losses):
            return b""
        if isinstance(part, ToolCall):
            return self._call_start(event, part)
        if isinstance(part, Unknown):
            return self._delta_chunk(event.choice, {"audio": part.data.get("audio")})
        return self._text_start(event, part)

    def _text_start(self, event: PartStart, part: Part) -> bytes:
        if not isinstance(part, Text | Reasoning | Refusal):
            return b""
        name = DELTA_NAMES[type(part)]
        self._open[event.choice, event.index] = b'{"%b":' % name.encode()
        begun = self._delta_chunk(event.choice, {name: part.text}) if part.text else b""
        own = own_citations(part.citations, self._losses) if isinstance(part, Text) else []
        noted = self._delta_chunk(event.choice, {"annotations": [item.data for item in own]}) if own else b""
        return begun + noted

    def _call_start(self, event: PartStart, part: ToolCall) -> bytes:
        number = self._calls.get(event.choice, 0)
        self._calls[event.choice] = number + 1
        call = _OpenCall(number, part.kind, empty=not part.arguments)
        self._open[event.choice, event.index] = call
        wire = {"index": number, **encode_tool_call(part, self._losses)}
        if not part.arguments and part.kind == "function":
            wire["function"]["arguments"] = ""
        return self._delta_chunk(event.choice, {"tool_calls": [wire]})

    def _part_end(self, event: PartEnd) -> bytes:
        held = self._open.pop((event.choice, event.index), None)
        own = self._losses.own(event.opaque)
        if not isinstance(held, _OpenCall):
            return b""
        # A function without arguments is "{}" here: clients give the string to a JSON reader.
        text = "{}" if held.empty and held.kind == "function" else ""
        if not text and not own:
            return b""
        return self._delta_chunk(event.choice, {"tool_calls": [graft(held.piece(text), own)]})


class _OpenCall:
    """A tool call whose arguments are still coming."""

    __slots__ = ("empty", "kind", "number")

    def __init__(self, number: int, kind: str, *, empty: bool) -> None:
        self.number = number
        self.kind = kind
        self.empty = empty

    def piece(self, text: str) -> dict[str, Json]:
        """The next piece of the arguments, as the wire has it."""
        if self.kind == "custom":
            return {"index": self.number, "custom": {"input": text}}
        return {"index": self.number, "function": {"arguments": text}}
