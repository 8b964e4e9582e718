"""The lawful order of events, as tables, and a checker that walks them.

    stream  =  ResponseStart (part events | LogprobsDelta | UsageUpdate)* Finish+  |  …Failed
    part    =  PartStart (PartDelta | CitationDelta)* PartEnd

Parts of one stream may interleave. `Failed` may come at any time before the first Finish, and ends the stream.
"""

from __future__ import annotations

from enum import Enum, auto

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
from waypost.chat.parts import Part, Reasoning, Refusal, Text, ToolCall


class Stage(Enum):
    """Where a stream stands."""

    WAITING = auto()
    OPEN = auto()
    FINISHING = auto()
    BROKEN = auto()


class PartStage(Enum):
    """Where a part stands."""

    ABSENT = auto()
    OPEN = auto()
    CLOSED = auto()


STREAM: dict[Stage, dict[type, Stage]] = {
    Stage.WAITING: {ResponseStart: Stage.OPEN, Failed: Stage.BROKEN},
    Stage.OPEN: {
        PartStart: Stage.OPEN,
        PartDelta: Stage.OPEN,
        CitationDelta: Stage.OPEN,
        LogprobsDelta: Stage.OPEN,
        PartEnd: Stage.OPEN,
        UsageUpdate: Stage.OPEN,
        Finish: Stage.FINISHING,
        Failed: Stage.BROKEN,
    },
    Stage.FINISHING: {Finish: Stage.FINISHING},
    Stage.BROKEN: {},
}

PART: dict[PartStage, dict[type, PartStage]] = {
    PartStage.ABSENT: {PartStart: PartStage.OPEN},
    PartStage.OPEN: {PartDelta: PartStage.OPEN, CitationDelta: PartStage.OPEN, PartEnd: PartStage.CLOSED},
    PartStage.CLOSED: {},
}

GROWING: tuple[type[Part], ...] = (Text, Reasoning, Refusal, ToolCall)
"""Parts that a PartDelta may append to."""


class GrammarError(Exception):
    """Events out of order: a defect of the codec that made them, never of the provider or the caller."""


class Grammar:
    """Walks the tables. Feed every event to `check`; `complete` tells whether the stream may end here."""

    __slots__ = ("_finished", "_kinds", "_parts", "stage")

    def __init__(self) -> None:
        self.stage = Stage.WAITING
        self._parts: dict[tuple[int, int], PartStage] = {}
        self._kinds: dict[tuple[int, int], Part] = {}
        self._finished: set[int] = set()

    @property
    def complete(self) -> bool:
        """Has every choice that began been finished?"""
        return self.stage is Stage.FINISHING and {choice for choice, _ in self._parts} <= self._finished

    def check(self, event: Event) -> None:
        """Take one event. Raises GrammarError, naming the event and the state, if it may not come now."""
        following = STREAM[self.stage].get(type(event))
        if following is None:
            raise GrammarError(f"{type(event).__name__} may not come while the stream is {self.stage.name}")
        if isinstance(event, PartStart | PartDelta | CitationDelta | PartEnd):
            self._check_part(event)
        elif isinstance(event, Finish):
            self._check_finish(event)
        self.stage = following

    def _check_part(self, event: PartStart | PartDelta | CitationDelta | PartEnd) -> None:
        key = (event.choice, event.index)
        stage = self._parts.get(key, PartStage.ABSENT)
        following = PART[stage].get(type(event))
        if following is None:
            raise GrammarError(f"{type(event).__name__} may not come while part {key} is {stage.name}")
        if isinstance(event, PartStart):
            self._kinds[key] = event.part
        elif isinstance(event, PartDelta) and not isinstance(self._kinds[key], GROWING):
            raise GrammarError(f"a {type(self._kinds[key]).__name__} part takes no PartDelta")
        elif isinstance(event, CitationDelta) and not isinstance(self._kinds[key], Text):
            raise GrammarError("only a Text part takes citations")
        self._parts[key] = following

    def _check_finish(self, event: Finish) -> None:
        still_open = [key for key, stage in self._parts.items() if key[0] == event.choice and stage is PartStage.OPEN]
        if still_open:
            raise GrammarError(f"choice {event.choice} finishes while part {still_open[0]} is open")
        if event.choice in self._finished:
            raise GrammarError(f"choice {event.choice} finishes twice")
        self._finished.add(event.choice)
