"""From events to a whole answer. The law: `collect(decode(stream)) == decode(json)` for the same answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from waypost.chat.events import (
    CitationDelta,
    Event,
    Failed,
    Finish,
    LogprobsDelta,
    PartDelta,
    PartEnd,
    PartStart,
    ResponseStart,
    UsageUpdate,
)
from waypost.chat.grammar import Grammar
from waypost.chat.parts import Citation, Json, Opaque, Part, Text, ToolCall, Unknown
from waypost.chat.response import Choice, Response
from waypost.chat.usage import Usage
from waypost.errors import IncompleteStream


@dataclass(slots=True)
class _GrowingPart:
    part: Part
    pieces: list[str] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    opaque: Opaque = field(default_factory=dict)

    def build(self) -> Part:
        part: Any = self.part
        grown = "".join(self.pieces)
        if grown and isinstance(part, ToolCall):
            part = replace(part, arguments=part.arguments + grown)
        elif grown:
            part = replace(part, text=part.text + grown)
        if self.citations and isinstance(part, Text):
            part = replace(part, citations=part.citations + tuple(self.citations))
        if self.opaque and not isinstance(part, Unknown):
            part = replace(part, opaque=merge_opaque(part.opaque, self.opaque))
        return part  # type: ignore[no-any-return]


def merge_opaque(first: Opaque, second: Opaque) -> Opaque:
    """Both, family by family; where both name a field the second wins."""
    families = [*first, *(family for family in second if family not in first)]
    return {family: {**first.get(family, {}), **second.get(family, {})} for family in families}


class Collector:
    """Takes events one by one. `response()` gives the whole answer, `partial()` what there is of it so far."""

    def __init__(self) -> None:
        self._grammar = Grammar()
        self._start: ResponseStart | None = None
        self._parts: dict[int, dict[int, _GrowingPart]] = {}
        self._logprobs: dict[int, dict[str, Json]] = {}
        self._finish: dict[int, Finish] = {}
        self._usage = Usage()

    def add(self, event: Event) -> None:
        """Take one event. Raises GrammarError if out of order, and the carried error on Failed."""
        self._grammar.check(event)
        match event:
            case PartDelta():
                self._parts[event.choice][event.index].pieces.append(event.text)
            case PartStart():
                self._parts.setdefault(event.choice, {})[event.index] = _GrowingPart(event.part)
            case PartEnd():
                self._parts[event.choice][event.index].opaque = event.opaque
            case CitationDelta():
                self._parts[event.choice][event.index].citations.append(event.citation)
            case LogprobsDelta():
                _extend(self._logprobs.setdefault(event.choice, {}), event.data)
            case UsageUpdate():
                self._usage = self._usage.merge(event.usage)
            case ResponseStart():
                self._start = event
            case Finish():
                self._finish[event.choice] = event
            case Failed():
                raise event.error

    @property
    def usage(self) -> Usage:
        """Counts so far."""
        return self._usage

    def response(self) -> Response:
        """The whole answer. Raises IncompleteStream if the provider has not finished."""
        if not self._grammar.complete:
            raise IncompleteStream("The stream ended before the provider said that it was finished.")
        return self.partial()

    def partial(self) -> Response:
        """What has come so far; a choice that did not finish has reason "other"."""
        start = self._start or ResponseStart(id="", model="")
        provider_fields = start.provider_fields
        for finish in self._finish.values():
            provider_fields = merge_opaque(provider_fields, finish.provider_fields)
        indexes = sorted({0, *self._parts, *self._finish} if not self._finish else {*self._parts, *self._finish})
        return Response(
            id=start.id,
            model=start.model,
            created=start.created,
            provider_fields=provider_fields,
            usage=self._usage,
            choices=tuple(self._choice(index) for index in indexes),
            notes=start.notes,
        )

    def _choice(self, index: int) -> Choice:
        finish = self._finish.get(index, Finish("other", choice=index))
        parts = self._parts.get(index, {})
        return Choice(
            index=index,
            parts=tuple(parts[number].build() for number in sorted(parts)),
            reason=finish.reason,
            raw_reason=finish.raw_reason,
            stop_sequence=finish.stop_sequence,
            logprobs=self._logprobs.get(index),
        )


def _extend(target: dict[str, Json], data: Mapping[str, Json]) -> None:
    for name, value in data.items():
        held = target.get(name)
        target[name] = [*held, *value] if isinstance(held, list) and isinstance(value, list) else value


def collect(events: Iterable[Event]) -> Response:
    """The whole answer of a finished stream.

    Raises IncompleteStream if it did not finish, the carried ProviderError if it broke, GrammarError if the
    events are out of order.
    """
    collector = Collector()
    for event in events:
        collector.add(event)
    return collector.response()
