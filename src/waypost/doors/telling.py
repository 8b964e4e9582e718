"""From canonical events to the events of `/api/ai/generate`. No I/O; one Telling for each stream.

    start (delta | reasoning | refusal | tool_call)* done          or          … error

`done` exists only if the provider said that it was finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from waypost.chat import (
    Event,
    Failed,
    Finish,
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
from waypost.doors.reply import Answer, answer_of
from waypost.doors.service import AnswerStream, ForeignStream
from waypost.errors import IncompleteStream
from waypost.manager.response import tool_call, usage_counts

TEXT_EVENTS: dict[type[Part], str] = {Text: "delta", Reasoning: "reasoning", Refusal: "refusal"}
"""Which event tells the text of which part."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event for the caller."""

    event: str
    data: dict[str, Any]


class Telling:
    """Feed it every event of the first choice; ask for `done` when they have ended."""

    def __init__(self, stream: AnswerStream, answer_id: str) -> None:
        self._stream = stream
        self.id = answer_id
        self._parts: dict[int, Part] = {}
        self._usage = Usage()
        self._tool_calls: list[dict[str, str]] = []
        self._finish: Finish | None = None

    def tell(self, event: Event) -> Sequence[Told]:
        """What the caller is told about this event. Raises the error that a Failed carries."""
        if getattr(event, "choice", 0) != 0:
            return ()
        match event:
            case PartDelta():
                return self._delta(event)
            case PartStart():
                return self._part_start(event)
            case PartEnd():
                return self._part_end(event)
            case ResponseStart():
                return (self._start(event),)
            case UsageUpdate():
                self._usage = self._usage.merge(event.usage)
            case Finish():
                self._finish = event
            case Failed():
                raise event.error
            case _:
                # Citations and log-probabilities have no place in this endpoint, streamed or not.
                pass
        return ()

    def done(self) -> Told:
        """The last event. Raises IncompleteStream if the provider has not finished."""
        if self._finish is None:
            raise IncompleteStream("The stream ended before the provider said that it was finished.")
        whole = self._stream.answer if isinstance(self._stream, ForeignStream) else None
        if whole is not None:
            return Told("done", answer_of(whole, self.id).fields())
        answer = Answer(
            id=self.id,
            provider=self._stream.provider,
            model=self._stream.model,
            usage=usage_counts(self._usage),
            # Not every double of a service knows of it.
            cost_usd=getattr(self._stream, "cost_usd", None),
            attempts=self._stream.attempts,
            finish_reason=self._finish.reason,
            tool_calls=self._tool_calls,
            warnings=self._stream.warnings,
        )
        return Told("done", answer.fields())

    def _start(self, event: ResponseStart) -> Told:
        model = self._stream.model or event.model
        return Told("start", {"id": self.id, "provider": self._stream.provider, "model": model})

    def _part_start(self, event: PartStart) -> Sequence[Told]:
        self._parts[event.index] = event.part
        text = getattr(event.part, "text", "")
        return self._text(event.part, text) if text else ()

    def _delta(self, event: PartDelta) -> Sequence[Told]:
        part = self._parts[event.index]
        if isinstance(part, ToolCall):
            self._parts[event.index] = replace(part, arguments=part.arguments + event.text)
            return ()
        return self._text(part, event.text)

    def _part_end(self, event: PartEnd) -> Sequence[Told]:
        part = self._parts.pop(event.index)
        if not isinstance(part, ToolCall):
            return ()
        call = tool_call(part)
        self._tool_calls.append(call)
        return (Told("tool_call", dict(call)),)

    def _text(self, part: Part, text: str) -> Sequence[Told]:
        name = TEXT_EVENTS.get(type(part))
        return (Told(name, {"text": text}),) if name else ()
