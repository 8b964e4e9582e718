"""A streamed answer, decoded: chunks in, canonical events out.

The invariants: Finish comes last and only when every choice had its finish_reason; text, reasoning and refusals are
closed by a part of another kind, tool calls stay open to the end since providers interleave them; after Failed
nothing follows. This is a hot path: the common chunk is one content delta.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from waypost.chat import (
    Citation,
    CitationDelta,
    Event,
    Failed,
    Finish,
    Json,
    LogprobsDelta,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    ResponseStart,
    Text,
    Unknown,
    Usage,
    UsageUpdate,
)
from waypost.codecs.jsonbytes import JsonError, parse_reply
from waypost.codecs.openai_chat.audio import SpokenAnswer
from waypost.codecs.openai_chat.calls import CallPieces
from waypost.codecs.openai_chat.dialect import FAMILY, WIRE
from waypost.codecs.openai_chat.errors import error_in_body
from waypost.codecs.openai_chat.response import (
    content_pieces,
    created,
    failure_of,
    logprobs_of,
    provider_fields,
    stop_sequence_of,
)
from waypost.codecs.openai_chat.wire import (
    Completion,
    WireChoice,
    WireMessage,
    WireToolCall,
    decode_usage,
    finish_reason,
)
from waypost.codecs.sse import SseEvent
from waypost.errors import IncompleteStream, MalformedResponse, ProviderError

DONE: Final = b"[DONE]"
_CHUNKS: Final = msgspec.json.Decoder(Completion)


class ChatStreamDecoder:
    """One stream's state. See `codecs.codec.StreamDecoder`."""

    __slots__ = ("_choices", "_ended", "_fields", "_id", "_late", "_started", "_tier", "_usage", "_wanted")

    def __init__(self, choices: int = 1) -> None:
        self._wanted = choices
        self._choices: dict[int, _ChoiceState] = {}
        self._fields: dict[str, Json] = {}
        self._late: dict[str, Json] = {}
        self._id = ""
        self._started = False
        self._ended = False
        self._tier: str | None = None
        self._usage: Usage | None = None

    def feed(self, event: SseEvent) -> Sequence[Event]:
        """The events of one chunk."""
        if self._ended:
            return ()
        if event.data.strip() == DONE:
            return self._end()
        try:
            return self._take(event)
        except JsonError as problem:
            return self._malformed(event, problem)

    def _take(self, event: SseEvent) -> Sequence[Event]:
        chunk = parse_reply(event.data, _CHUNKS)
        if chunk.error or chunk.object == "error" or event.event == "error":
            return self._fail(_error_in_event(event))
        events: list[Event] = []
        if not self._started:
            self._begin(chunk, event.data, events)
        for choice in chunk.choices or ():
            if (error := failure_of(choice)) is not None:
                return (*events, *self._fail(error))
            self._choice(choice, events)
            if choice.finish_reason:
                self._note_late_fields(event.data)
        self._note_usage(chunk, event.data, events)
        return events

    def finish(self) -> Sequence[Event]:
        """The bytes are at an end; without [DONE] that is well if every choice has finished."""
        return () if self._ended else self._end()

    @property
    def finished(self) -> bool:
        """Has every choice that was wanted or came its finish_reason?"""
        states = self._choices.values()
        return len(states) >= self._wanted and all(state.finish is not None for state in states)

    @property
    def begun(self) -> Container[int]:
        """The indexes of the choices that have come, once it has begun; none after the end."""
        return self._choices if self._started and not self._ended else ()

    @property
    def tier(self) -> str | None:
        """The service tier told last."""
        return self._tier

    def _begin(self, chunk: Completion, data: bytes, events: list[Event]) -> None:
        self._fields.update(provider_fields(parse_reply(data)).get(FAMILY, {}))
        if not chunk.id and not chunk.choices:
            return  # Azure sends its filter's verdict on the prompt ahead, in a chunk that has no id
        self._started = True
        self._id = chunk.id or ""
        fields = {FAMILY: self._fields} if self._fields else {}
        events.append(ResponseStart(self._id, chunk.model or "", created(chunk), fields))

    def _choice(self, choice: WireChoice, events: list[Event]) -> None:
        index = choice.index or 0
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = _ChoiceState(index, self._id)
        delta = choice.delta or choice.message
        if delta is not None:
            state.take(delta, events)
        if choice.logprobs is not None and (data := logprobs_of(choice)) is not None:
            events.append(LogprobsDelta(data, index))
        if choice.finish_reason:
            raw = choice.finish_reason
            state.finish = Finish(finish_reason(raw), raw, stop_sequence_of(choice), index)

    def _note_late_fields(self, data: bytes) -> None:
        """Top-level fields that only the last chunks have, such as llama.cpp's timings."""
        fields = provider_fields(parse_reply(data)).get(FAMILY, {})
        self._late.update((name, value) for name, value in fields.items() if self._fields.get(name) != value)

    def _note_usage(self, chunk: Completion, data: bytes, events: list[Event]) -> None:
        if chunk.service_tier is not None:
            self._tier = chunk.service_tier
        wire = chunk.usage
        if wire is None and chunk.x_groq is not None:
            wire = chunk.x_groq.usage
        for choice in chunk.choices or ():
            wire = wire or choice.usage
        if wire is not None:
            if not chunk.choices:
                self._note_late_fields(data)
            self._usage = decode_usage(wire, self._tier)
            if self._started:
                events.append(UsageUpdate(self._usage))

    def _end(self) -> Sequence[Event]:
        finishes = [state.finish for _, state in sorted(self._choices.items())]
        done = [finish for finish in finishes if finish is not None]
        if not self.finished:
            wanted = max(self._wanted, len(finishes))
            return self._fail(IncompleteStream(f"The stream ended when {len(done)} of {wanted} choices had finished."))
        self._ended = True
        events: list[Event] = []
        for _, state in sorted(self._choices.items()):
            state.close(events)
        if self._usage is None and self._tier is not None:
            events.append(UsageUpdate(Usage(service_tier=self._tier)))
        if self._late:
            done[-1] = replace(done[-1], provider_fields={FAMILY: self._late})
        return (*events, *done)

    def _malformed(self, event: SseEvent, problem: JsonError) -> Sequence[Event]:
        try:
            value = parse_reply(event.data)
        except JsonError:
            value = None
        error = error_in_body(value) if isinstance(value, dict) else None
        if error is None:
            error = MalformedResponse(f"An event of the stream is not a chat completion chunk: {problem}.")
        return self._fail(error)

    def _fail(self, error: ProviderError) -> Sequence[Event]:
        self._ended = True
        return (Failed(error),)


def _error_in_event(event: SseEvent) -> ProviderError:
    value = parse_reply(event.data)
    error = error_in_body(value) or error_in_body({"error": value})
    return error or MalformedResponse("The stream reported an error without saying which.")


class _ChoiceState:
    """The parts of one choice: the one that grows now, and the tool calls."""

    __slots__ = ("_audio", "_calls", "_index", "_kind", "_number", "_open", "finish")

    def __init__(self, index: int, response_id: str) -> None:
        self._index = index
        self._number = 0
        self._kind: type[Text | Reasoning | Refusal] | None = None
        self._open = 0
        self._calls = CallPieces(index, response_id)
        self._audio: SpokenAnswer | None = None
        self.finish: Finish | None = None

    def take(self, delta: WireMessage, events: list[Event]) -> None:
        if reasoning := delta.reasoning_content or delta.reasoning:
            self._grow(Reasoning, reasoning, events)
        content = delta.content
        if content.__class__ is str:
            if content:
                self._grow(Text, content, events)
        elif content:
            for kind, text in content_pieces(content):
                if text:
                    self._grow(kind, text, events)
        self._take_rare(delta, events)

    def _take_rare(self, delta: WireMessage, events: list[Event]) -> None:
        if delta.refusal:
            self._grow(Refusal, delta.refusal, events)
        if delta.annotations:
            self._annotate(delta.annotations, events)
        for piece in delta.tool_calls or ():
            self._call(piece, events)
        if delta.function_call is not None:
            self._call(WireToolCall(index=0, function=delta.function_call), events)
        if delta.audio is not None:
            self._audio = self._audio or SpokenAnswer()
            self._audio.add(delta.audio)

    def close(self, events: list[Event]) -> None:
        """End every part that is open."""
        self._close_growing(events)
        self._number = self._calls.close(self._number, events)
        if self._audio is not None:
            events.append(PartStart(self._number, Unknown(WIRE, self._audio.part()), self._index))
            events.append(PartEnd(self._number, self._index))

    def _grow(self, kind: type[Text | Reasoning | Refusal], text: str, events: list[Event]) -> None:
        if kind is not self._kind:
            self._open_part(kind, events)
        events.append(PartDelta(self._open, text, self._index))

    def _open_part(self, kind: type[Text | Reasoning | Refusal], events: list[Event]) -> None:
        self._close_growing(events)
        self._kind = kind
        self._open = self._number
        self._number += 1
        events.append(PartStart(self._open, kind(""), self._index))

    def _close_growing(self, events: list[Event]) -> None:
        if self._kind is not None:
            events.append(PartEnd(self._open, self._index))
            self._kind = None

    def _annotate(self, annotations: Sequence[dict[str, Json]], events: list[Event]) -> None:
        if self._kind is not Text:
            self._open_part(Text, events)
        events.extend(CitationDelta(self._open, Citation(WIRE, data), self._index) for data in annotations)

    def _call(self, piece: WireToolCall, events: list[Event]) -> None:
        if self._calls.begins(piece):
            self._close_growing(events)
        self._number = self._calls.add(piece, self._number, events)
