"""Google's response chunks to canonical events.

Each event is a whole GenerateContentResponse with the next parts of some candidates. Text without any mark joins the
text before it; a part with a signature stays a part of its own, as Google demands of those who send it back. Counts
and reasons may come again in any later chunk, so Finish waits for the end of the bytes; it is given only if every
candidate had its finishReason, or the prompt was blocked. After Failed nothing follows.

Without `alt=sse` Google streams one JSON array instead, which is not read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from waypost.chat import (
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
    UsageUpdate,
)
from waypost.codecs.gemini.calls import CallIds
from waypost.codecs.gemini.errors import error_of, is_error
from waypost.codecs.gemini.logprobs import decode_logprobs
from waypost.codecs.gemini.parts import decode_part
from waypost.codecs.gemini.reasons import finish_reason
from waypost.codecs.gemini.usage import decode_usage, usage_extras
from waypost.codecs.gemini.wire import FAMILY, Members, integer, repeated
from waypost.codecs.jsonbytes import JsonError, parse_reply
from waypost.codecs.reading import WireError, an_object, join, optional, rest
from waypost.codecs.replies import excerpt
from waypost.codecs.sse import SseEvent
from waypost.errors import IncompleteStream, MalformedResponse, ProviderError

_CANONICAL: Final = ("candidates", "usageMetadata", "modelVersion", "responseId")


class GeminiStreamDecoder:
    """One stream's state. Feed it whole events in order, then `finish`. See `codecs.codec.StreamDecoder`."""

    __slots__ = ("_candidates", "_ended", "_fields", "_id", "_started", "_usage", "_wanted")

    def __init__(self, choices: int = 1) -> None:
        self._wanted = choices
        self._candidates: dict[int, _Candidate] = {}
        self._fields: Members = {}
        self._usage: Members = {}
        self._id = ""
        self._started = False
        self._ended = False

    def feed(self, event: SseEvent) -> Sequence[Event]:
        """The canonical events of one chunk."""
        if self._ended:
            return ()
        try:
            value = parse_reply(event.data)
            return self._fail(error_of(value)) if is_error(value) else self.take(an_object(value, ""))
        except JsonError as error:
            began = excerpt(event.data, 80)
            return self._fail(MalformedResponse(f"An event is not valid JSON: {error}. It begins: {began}"))
        except WireError as error:
            return self._fail(MalformedResponse(f"An event is not a Gemini response: {error}."))

    def finish(self) -> Sequence[Event]:
        """The end of the bytes: every Finish, or Failed(IncompleteStream) if a candidate had no finishReason."""
        if self._ended:
            return ()
        if not self.finished:
            wanted = max(self._wanted, len(self._candidates))
            told = f"The stream ended when {self._done} of {wanted} candidates had a finishReason."
            return self._fail(IncompleteStream(told, hint="Ask again."))
        return self.close()

    @property
    def finished(self) -> bool:
        """Has every candidate that was wanted or came its finishReason, or was the prompt blocked?"""
        done = self._done
        return done >= max(self._wanted, len(self._candidates)) or bool(self._blocked and not self._candidates)

    @property
    def _done(self) -> int:
        return sum(candidate.raw_reason is not None for candidate in self._candidates.values())

    @property
    def empty(self) -> bool:
        """Has neither a candidate come nor the word that the prompt was blocked?"""
        return not self._candidates and not self._blocked

    @property
    def _blocked(self) -> str | None:
        feedback = self._fields.get("promptFeedback")
        return feedback.get("blockReason") if isinstance(feedback, dict) else None

    def _fail(self, error: ProviderError) -> Sequence[Event]:
        self._ended = True
        return (Failed(error),)

    def take(self, chunk: Members) -> Sequence[Event]:
        """The events of one decoded chunk. Raises WireError."""
        self._fields |= _own_fields(chunk)
        optional(optional(chunk, "promptFeedback", dict, "") or {}, "blockReason", str, "promptFeedback")
        events: list[Event] = [] if self._started else [self._start(chunk)]
        for position, wire in enumerate(repeated(chunk, "candidates", "")):
            index = integer(wire, "index", f"candidates.{position}")
            index = position if index is None else index
            if index not in self._candidates:
                self._candidates[index] = _Candidate(index, self._id)
            self._candidates[index].take(wire, f"candidates.{position}", events)
        if usage := optional(chunk, "usageMetadata", dict, ""):
            self._usage |= usage
            events.append(UsageUpdate(decode_usage(self._usage, "usageMetadata")))
        return events

    def _start(self, chunk: Members) -> ResponseStart:
        self._started = True
        self._id = optional(chunk, "responseId", str, "") or ""
        model = optional(chunk, "modelVersion", str, "") or ""
        return ResponseStart(self._id, model, _unix_seconds(chunk.get("createTime")), _family(self._fields))

    def close(self) -> Sequence[Event]:
        """End what is open and finish every candidate; fields that only the end tells ride on the last Finish."""
        self._ended = True
        events: list[Event] = []
        finishes = [candidate.close(events) for _, candidate in sorted(self._candidates.items())]
        if not finishes:
            finishes = [Finish("content_filter", self._blocked)]
        if extras := usage_extras(self._usage):
            self._fields["usageMetadata"] = extras
        last = finishes[-1]
        fields = {**self._fields, **last.provider_fields.get(FAMILY, {})}
        finishes[-1] = Finish(last.reason, last.raw_reason, choice=last.choice, provider_fields=_family(fields))
        return (*events, *finishes)


def _family(fields: Members) -> dict[str, Members]:
    return {FAMILY: dict(fields)} if fields else {}


def _own_fields(chunk: Members) -> Members:
    fields = rest(chunk, *_CANONICAL)
    seconds = _unix_seconds(fields.get("createTime"))
    if seconds is not None and datetime.fromisoformat(fields["createTime"]).timestamp() == seconds:
        del fields["createTime"]  # the canonical field says it all
    return fields


def _unix_seconds(time: Json) -> int | None:
    try:
        return int(datetime.fromisoformat(time).timestamp())
    except (TypeError, ValueError, OverflowError, OSError):
        return None


class _Candidate:
    """The parts of one candidate: the text that grows now, and how many there were."""

    __slots__ = ("_called", "_extras", "_growing", "_ids", "_index", "_number", "raw_reason")

    def __init__(self, index: int, response_id: str) -> None:
        self._index = index
        self._ids = CallIds(f"{response_id}_{index}" if index else response_id)
        self._number = 0
        self._growing: type[Text | Reasoning] | None = None
        self._called = False
        self._extras: Members = {}
        self.raw_reason: str | None = None

    def take(self, wire: Members, path: str, events: list[Event]) -> None:
        """The next content, and what stands beside it. Raises WireError."""
        content = optional(wire, "content", dict, path) or {}
        at = join(path, "content")
        for number, item in enumerate(repeated(content, "parts", at)):
            self._add(decode_part(item, f"{at}.parts.{number}", self._ids), events)
        self.raw_reason = optional(wire, "finishReason", str, path) or self.raw_reason
        if result := optional(wire, "logprobsResult", dict, path):
            data = decode_logprobs(result, join(path, "logprobsResult"))
            events += [] if data is None else [LogprobsDelta(data, self._index)]
        self._extras |= rest(wire, "content", "finishReason", "index", "logprobsResult")

    def close(self, events: list[Event]) -> Finish:
        """End the text that is open; the Finish to give later."""
        self._end_growing(events)
        fields = _family({f"candidates[{self._index}]": self._extras} if self._extras else {})
        reason = finish_reason(self.raw_reason, called=self._called)
        return Finish(reason, self.raw_reason, choice=self._index, provider_fields=fields)

    def _add(self, part: Part, events: list[Event]) -> None:
        if isinstance(part, Text | Reasoning) and not part.opaque:
            if part.text:
                self._grow(type(part), part.text, events)
            return
        self._end_growing(events)
        text = ""
        begun = part
        if isinstance(part, ToolCall):
            self._called = True
            text = part.arguments
            begun = ToolCall(part.call_id, part.name, "", opaque=part.opaque)
        events.append(PartStart(self._number, begun, self._index))
        if text:
            events.append(PartDelta(self._number, text, self._index))
        events.append(PartEnd(self._number, self._index))
        self._number += 1

    def _grow(self, kind: type[Text | Reasoning], text: str, events: list[Event]) -> None:
        if kind is not self._growing:
            self._end_growing(events)
            self._growing = kind
            events.append(PartStart(self._number, kind(""), self._index))
        events.append(PartDelta(self._number, text, self._index))

    def _end_growing(self, events: list[Event]) -> None:
        if self._growing is not None:
            events.append(PartEnd(self._number, self._index))
            self._growing = None
            self._number += 1
