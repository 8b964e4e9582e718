"""What a request of the log may be asked by. Values and their conditions in SQL; no query is made here.

Each filter but those on tags has an index. A condition comes in two forms that mean the same: `plain` may use it, and
`hidden` may not, so that the search says which index is walked and no database guesses wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, func, literal_column

from waypost.ledger.definitions import UnusableField
from waypost.store.tables import requests

TAG_NAME: Final = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
LONGEST: Final = 200
END_STATES: Final = ("answered", "failed", "caller_left", "unknown")
EQUAL: Final = (
    "project_id",
    "key_id",
    "end_user",
    "route",
    "provider",
    "model",
    "end_state",
    "status",
    "error_code",
    "request_id",
)
"""Columns that are asked for one value."""
LEFT_OUT: Final[Mapping[str, Any]] = {"status": 200, "end_state": "answered"}
"""What the index on the column leaves out: most requests have it, so that they are found anyway."""
SPARSE: Final[Mapping[str, ColumnElement[bool]]] = {
    # As the index has it, word for word: SQLite proves nothing.
    "status": requests.c.status != literal_column("200"),
    "end_state": requests.c.end_state != literal_column("'answered'"),
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which requests; None asks nothing. Times are Unix ms, `until_ms` itself is out. Raises UnusableField."""

    since_ms: int | None = None
    until_ms: int | None = None
    project_id: str | None = None
    key_id: str | None = None
    end_user: str | None = None
    route: str | None = None
    provider: str | None = None
    model: str | None = None
    model_prefix: str | None = None
    end_state: str | None = None
    status: int | None = None
    error_code: str | None = None
    request_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    min_cost_micro_usd: int | None = None
    min_total_ms: int | None = None

    def __post_init__(self) -> None:
        for name in (*EQUAL, "model_prefix"):
            value = getattr(self, name)
            if isinstance(value, str):
                _check_text(name, value)
        for name, value in self.tags.items():
            if not TAG_NAME.fullmatch(name):
                raise UnusableField(
                    "A tag's name is 1 to 64 letters, digits, or . _ : / -", hint="Write name=value.", param="tag"
                )
            _check_text("tag", value, may_be_empty=True)
        if self.end_state is not None and self.end_state not in END_STATES:
            raise UnusableField(f"end_state must be one of {', '.join(END_STATES)}.", param="end_state")

    def conditions(self) -> list[Condition]:
        """All but the time, which every search walks along."""
        found: list[Condition] = [
            Equal(requests.c[name], getattr(self, name)) for name in EQUAL if getattr(self, name) is not None
        ]
        if self.model_prefix is not None:
            found.append(Prefix(self.model_prefix))
        if self.min_cost_micro_usd is not None:
            found.append(AtLeast(requests.c.cost_micro_usd, self.min_cost_micro_usd))
        if self.min_total_ms is not None:
            found.append(AtLeast(requests.c.total_ms, self.min_total_ms))
        if self.tags:
            found.append(Tagged(self.tags))
        return found


def _check_text(name: str, value: str, *, may_be_empty: bool = False) -> None:
    # PostgreSQL takes no NUL and no half of a pair in a text; nothing that is stored has other control characters.
    if len(value) > LONGEST or not value.isprintable() or not (value or may_be_empty):
        raise UnusableField(
            f"{name} must be a text of {0 if may_be_empty else 1} to {LONGEST} characters that can be shown.",
            param=name,
        )


@dataclass(frozen=True, slots=True)
class Equal:
    """A column has this value."""

    column: Column[Any]
    value: str | int

    @property
    def plain(self) -> list[ColumnElement[bool]]:
        """With the index, if the index has the value."""
        equal, sparse = self.column == self.value, SPARSE.get(self.column.name)
        return [equal] if sparse is None or self.is_left_out else [equal, sparse]

    @property
    def hidden(self) -> list[ColumnElement[bool]]:
        """Without it."""
        return [func.coalesce(self.column, -1 if isinstance(self.value, int) else "") == self.value]

    @property
    def is_left_out(self) -> bool:
        """Does the index leave the value out?"""
        return LEFT_OUT.get(self.column.name) == self.value


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A number is known and at least so high."""

    column: Column[int]
    value: int

    @property
    def plain(self) -> list[ColumnElement[bool]]:
        """With the index."""
        return [self.column >= self.value]

    @property
    def hidden(self) -> list[ColumnElement[bool]]:
        """Without it."""
        return [func.coalesce(self.column, -1) >= self.value]


@dataclass(frozen=True, slots=True)
class Prefix:
    """The model's name begins so. Each database orders texts in its own way, so no index is asked for a prefix."""

    value: str

    @property
    def hidden(self) -> list[ColumnElement[bool]]:
        """Without an index."""
        return [func.substr(requests.c.model, 1, len(self.value)) == self.value]


@dataclass(frozen=True, slots=True)
class OneOf:
    """The model is one of these."""

    values: Sequence[str]

    @property
    def plain(self) -> list[ColumnElement[bool]]:
        """With the index."""
        return [requests.c.model.in_(self.values)]


@dataclass(frozen=True, slots=True)
class Tagged:
    """It has all of these tags."""

    tags: Mapping[str, str]

    @property
    def hidden(self) -> list[ColumnElement[bool]]:
        """Without an index: there is none."""
        return [requests.c.tags[name].as_string() == value for name, value in self.tags.items()]


Condition = Equal | AtLeast | Prefix | Tagged
