"""The matrix as values: a row is what the targets do and what must come of it, a cell is one way to ask for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from _pytest.mark import ParameterSet
from tests.matrix.doors import DOORS, Door, Turn
from tests.simulated import Wire

from waypost.simulator import Fault
from waypost.simulator.script import Prefill

TEXT = (
    "Grüße: a river 🌊 finds the sea by asking no one, and it tells each stone on its way that it will be back, später."
)
"""What a target says that does not fail. It has more tokens than any row's fault lets through."""
Which = Literal["first", "second"]


@dataclass(frozen=True)
class Expected:
    """What must come of a cell.

    `calls` are the calls that the providers see, in order, each with how it ended by our own code: "first answered".
    `told` is the code of the error that the caller gets, empty for the whole text; `began`: after some of the text.
    `at_least_s` is what it takes, and `waits_s` what passes between the calls; neither may be much longer.
    """

    calls: tuple[str, ...]
    told: str = ""
    began: bool = False
    at_least_s: float = 0.0
    waits_s: tuple[float, ...] = ()
    header_attempts: int | None = None
    """What the reply's header counts, where that is not all the calls: it is sent before a stream breaks."""

    retry_after: str | None = None
    """The wait that the caller is told, in seconds."""
    filtered: bool = False
    """Does the answer end because of its provider's content policy? It is no error."""
    said: str = TEXT
    """What the caller gets of the text, if it gets an answer."""
    last_asked_with: str = ""
    """Who speaks last in the conversation that the last call asks to go on with; empty: it does not matter."""


def came(*calls: str, **more: Any) -> Expected:
    """After these calls; `more` are the other fields."""
    return Expected(calls, **more)


@dataclass(frozen=True)
class Target:
    """What one target does, call by call; what it does last it goes on doing. None: it answers with `text`.

    `wire` None: the cell's own; `keys` are the provider's. `prefill`: what it makes of its own words at the end.
    `filtered` is Google's word for why it ends the answer, `blocked` for why it gives none.
    """

    does: tuple[Fault | None, ...] = (None,)
    text: str = TEXT
    wire: Wire | None = None
    model: str = "simulated-model"
    keys: tuple[str, ...] = ("right",)
    prefill: Prefill | None = None
    filtered: str | None = None
    blocked: str | None = None


@dataclass(frozen=True)
class Row:
    """One fault. What must come of it is the same in `either` form of answer, or told for each; None: no such cell.

    `second` None: the route has one target.
    """

    name: str
    first: Target
    either: Expected | None = None
    streamed: Expected | None = None
    whole: Expected | None = None
    second: Target | None = None
    policy: Mapping[str, Any] = field(default_factory=dict)
    idle_s: float = 30.0
    wires: tuple[Wire, ...] = ("chat", "responses", "anthropic", "gemini")
    """The dialects that the first target may have."""
    turns: tuple[Turn, ...] = (("user", "Tell me about the river."),)
    not_yet: str = ""
    """What has to be built before the row holds; it must fail until then."""

    @property
    def slug(self) -> str:
        """The name as a model's name can hold it."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def cells(self) -> Iterator[Cell]:
        """Every door, with a provider of its own dialect and one of another, streamed and not."""
        for door in DOORS:
            for wires in ((door.name, door.other), (door.other, door.name)):
                for stream, expected in ((True, self.streamed or self.either), (False, self.whole or self.either)):
                    if expected is not None and wires[0] in self.wires:
                        yield Cell(self, door, wires, expected, stream=stream)


def parameters(rows: Iterable[Row]) -> list[ParameterSet]:
    """The rows as a test's parameters."""
    return [pytest.param(row, id=row.slug, marks=_marks(row)) for row in rows]


def _marks(row: Row) -> list[pytest.MarkDecorator]:
    return [pytest.mark.xfail(reason=row.not_yet, strict=True)] if row.not_yet else []


@dataclass(frozen=True)
class Cell:
    """`wires` are the dialects of the first and of the second target. `name` is also that of the cell's own route."""

    row: Row
    door: Door
    wires: tuple[Wire, Wire]
    expected: Expected
    stream: bool

    @property
    def name(self) -> str:
        """Row, door, dialect of the first target, and whether streamed."""
        return f"{self.row.slug}.{self.door.name}.{self.wires[0]}.{'stream' if self.stream else 'json'}"

    @property
    def targets(self) -> dict[Which, Target]:
        """Those there are, in the route's order."""
        both: dict[Which, Target | None] = {"first": self.row.first, "second": self.row.second}
        return {which: target for which, target in both.items() if target is not None}

    def wire(self, which: Which) -> Wire:
        """The dialect of that target."""
        return self.targets[which].wire or self.wires[which == "second"]

    def provider(self, which: Which) -> str:
        """The name of that target's provider, which no other cell uses: nothing is shared, so nothing is mixed up."""
        return f"{self.name}.{which}"

    def keys(self, which: Which) -> list[str]:
        """That provider's keys, by which the simulator tells who is asked."""
        return [f"{key}.{self.provider(which)}" for key in self.targets[which].keys]
