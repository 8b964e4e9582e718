"""Lists of jobs, page by page: without their content and results, which may be large. In threads only.

A page is read along one index, in windows, within a time that ends: where what is asked for is rare, it holds what was
found and says how far it has looked. The invariant: pages one after another give each job once.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, and_, or_, select

from waypost.jobs.job import CRASHED, WAITING, State
from waypost.ledger.definitions import UnusableField
from waypost.store.job_tables import jobs

WINDOW: Final = 5_000
"""Rows that are looked at before the clock is."""
BUDGET_S: Final = 0.2
CLOCK_SLACK_MS: Final = 60_000
"""An id may be made so long before or after the time that its job tells."""
LEFT_OUT: Final = frozenset({"request", "result", "idempotency_slot", "fingerprint"})
LISTED: Final = [column for column in jobs.c if column.name not in LEFT_OUT]
Row = dict[str, Any]
Place = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class JobFilters:
    """Which jobs: all that is set holds at once. `project_id` None: everybody's. `dead`: given up after crashes."""

    project_id: str | None = None
    state: State | None = None
    type: str | None = None
    batch_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    since_ms: int | None = None
    until_ms: int | None = None
    dead: bool = False

    @property
    def stated(self) -> State | None:
        """The state they have, if it is one."""
        return "failed" if self.dead else self.state


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs. `cursor` leads to those after them; None: these were the last.

    `searched_to_ms` is set where the time was over before the page was full.
    """

    rows: list[Row]
    cursor: str | None
    searched_to_ms: int | None = None


class Walk:
    """Along one index: those with these values, in the order of `keys`."""

    def __init__(self, name: str, equal: Mapping[str, str], keys: Sequence[Column[Any]], *, newest_first: bool) -> None:
        self.name = name
        self.covers = frozenset(equal)
        self.keys = keys
        self.order = [key.desc() if newest_first else key.asc() for key in keys]
        self.where = [jobs.c[column] == value for column, value in equal.items()]
        self._newest_first = newest_first

    def after(self, place: Place) -> ColumnElement[bool]:
        """What comes after it."""
        return self._beyond(place)

    def up_to(self, place: Place) -> ColumnElement[bool]:
        """What comes before it, and itself."""
        return ~self._beyond(place)

    def _beyond(self, place: Place) -> ColumnElement[bool]:
        first, value = self.keys[0], place[0]
        beyond = first < value if self._newest_first else first > value
        if len(self.keys) == 1:
            return beyond
        last = self.keys[1] < place[1] if self._newest_first else self.keys[1] > place[1]
        # The first half is for the index, which has only the first key.
        within = first <= value if self._newest_first else first >= value
        return and_(within, or_(beyond, last))


def walk_of(filters: JobFilters) -> Walk:
    """The index that finds them soonest."""
    newest = (jobs.c.created_at_ms, jobs.c.id)
    if filters.batch_id is not None:
        return Walk("b", {"batch_id": filters.batch_id}, (jobs.c.batch_index,), newest_first=False)
    if filters.project_id is not None:
        return Walk("p", {"project_id": filters.project_id}, newest, newest_first=True)
    if filters.stated is not None:
        return Walk("s", {"state": filters.stated}, newest, newest_first=True)
    return Walk("a", {}, (jobs.c.id,), newest_first=True)


def list_jobs(
    connection: Connection,
    filters: JobFilters,
    *,
    limit: int = 50,
    cursor: str | None = None,
    budget_s: float | None = BUDGET_S,
) -> JobPage:
    """At most `limit` jobs after the cursor, the newest first; those of one batch in its order.

    `budget_s` None: looks until the page is full. Raises UnusableField for a cursor that is none of such a list.
    """
    walk = walk_of(filters)
    place = None if cursor is None else _place(cursor, walk)
    bounds, others = _bounds(filters, walk), _others(filters, walk)
    ends_at = None if budget_s is None else time.monotonic() + budget_s
    rows: list[Row] = []
    while True:
        within = [*walk.where, *bounds, *([] if place is None else [walk.after(place)])]
        edge = _edge(connection, walk, within) if others else None
        window = [*within, *others, *([] if edge is None else [walk.up_to(edge)])]
        query = select(*LISTED).where(*window).order_by(*walk.order).limit(limit + 1 - len(rows))
        rows += [dict(row) for row in connection.execute(query).mappings()]
        if len(rows) > limit:
            return JobPage(rows[:limit], _cursor(walk, tuple(rows[limit - 1][key.name] for key in walk.keys)))
        if edge is None:
            return JobPage(rows, None)
        place = edge
        if ends_at is not None and time.monotonic() > ends_at:
            return JobPage(rows, _cursor(walk, edge), _time_of(edge))


def _edge(connection: Connection, walk: Walk, within: Sequence[ColumnElement[bool]]) -> Place | None:
    """Where the window ends; None: all that is left is within it."""
    query = select(*walk.keys).where(*within).order_by(*walk.order).offset(WINDOW - 1).limit(1)
    row = connection.execute(query).first()
    return None if row is None else tuple(row)


def _bounds(filters: JobFilters, walk: Walk) -> list[ColumnElement[bool]]:
    """Where the walk begins and ends."""
    since, until, created = filters.since_ms, filters.until_ms, jobs.c.created_at_ms
    bounds = [] if since is None else [created >= since]
    bounds += [] if until is None else [created < until]
    if walk.name == "a":
        bounds += [] if since is None else [jobs.c.id >= _id_at(since - CLOCK_SLACK_MS)]
        bounds += [] if until is None else [jobs.c.id < _id_at(until + CLOCK_SLACK_MS)]
    return bounds


def _others(filters: JobFilters, walk: Walk) -> list[ColumnElement[bool]]:
    """What is looked at row by row."""
    wanted = {
        "project_id": filters.project_id,
        "state": filters.stated,
        "type": filters.type,
        "batch_id": filters.batch_id,
    }
    # Those that a provider has are told as running.
    alike: Mapping[str, Sequence[str]] = {"running": ("running", WAITING)}
    left = {name: value for name, value in wanted.items() if value is not None and name not in walk.covers}
    found: list[ColumnElement[bool]] = [jobs.c[name].in_(alike.get(value, (value,))) for name, value in left.items()]
    found += [jobs.c.tags[name].as_string() == value for name, value in filters.tags.items()]
    if filters.dead:
        found.append(jobs.c.error["code"].as_string() == CRASHED)
    return found


def _id_at(at_ms: int) -> str:
    return f"job_{max(0, at_ms):012x}"


def _time_of(place: Place) -> int | None:
    """When the job at that place was made, if the place tells."""
    first = place[0]
    if isinstance(first, str):
        return int(first[len("job_") :][:12], 16)
    return first if len(place) > 1 else None


def _cursor(walk: Walk, place: Place) -> str:
    plain = ".".join((walk.name, *(str(value) for value in place)))
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def _place(cursor: str, walk: Walk) -> Place:
    try:
        plain = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
        name, *values = plain.split(".")
        place = tuple(_value(key, value) for key, value in zip(walk.keys, values, strict=True))
    except (binascii.Error, UnicodeError, ValueError):
        place, name = (), ""
    if name != walk.name:
        raise UnusableField("This is no place in this list.", hint="Begin without it.", param="after")
    return place


def _value(key: Column[Any], text: str) -> int | str:
    if key.name == "id":
        int(text.removeprefix("job_"), 16)
        return text
    if not (text.isdecimal() and len(text) < len(str(2**63))):
        raise ValueError(text)
    return int(text)
