"""How the log is searched so that no page takes long: along one index, in windows that grow, within a time that ends.

Of the filters that have an index, the one whose requests reach furthest back (or forth) is walked along; the others are
looked at row by row. Where even that would look at too many rows, the page ends with what was found and says how far
it has looked, so that the next one goes on there. The invariant: pages one after another give each request once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, select

from waypost.ledger.log_filters import Condition, Equal, Filters, OneOf, Prefix, Tagged
from waypost.ledger.tag_slots import SLOT_MS, tag_hash
from waypost.store.tables import requests, tag_slots

FIRST_WINDOW: Final = 1_000
LARGEST_WINDOW: Final = 16_000
"""Rows that are looked at before the clock is."""
RARE: Final = 2_000
"""So few rows are fetched and sorted, in whichever order their index has them."""
ROWS_IN_A_SLOT: Final = 64
MOST_SLOTS: Final = 64
SLOTS_JOINED: Final = 4
MOST_MODELS: Final = 1_000
"""Model names that are looked through for a prefix."""
BUDGET_S: Final = 0.05
END_OF_TIME_MS: Final = 2**53

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """Unix ms from `low` to before `high`."""

    low: int
    high: int

    @property
    def is_empty(self) -> bool:
        """Is there no time in it?"""
        return self.low >= self.high


@dataclass(frozen=True, slots=True)
class Order:
    """Newest or oldest first."""

    newest_first: bool = True

    def sorted(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """The column in this order."""
        return column.desc() if self.newest_first else column.asc()

    def split(self, span: Span, at_ms: int) -> tuple[Span, Span]:
        """The part up to this time, which is in it, and the part after it."""
        if self.newest_first:
            return Span(at_ms, span.high), Span(span.low, at_ms)
        return Span(span.low, at_ms + 1), Span(at_ms + 1, span.high)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the last request that was looked at. An id that is empty sorts before all others."""

    started_at_ms: int
    id: str = ""

    def within(self, span: Span, order: Order) -> Span:
        """What is left of the span: with this millisecond, if some of its requests may be."""
        if order.newest_first:
            return Span(span.low, min(span.high, self.started_at_ms + bool(self.id)))
        return Span(max(span.low, self.started_at_ms), span.high)

    def after(self, order: Order) -> ColumnElement[bool]:
        """What comes after it, in the order."""
        # Hidden from the planner, which would else look for both sides of the "or" by an index each.
        started, row_id = requests.c.started_at_ms + 0, requests.c.id
        if order.newest_first:
            return (started < self.started_at_ms) | (row_id < self.id)
        return (started > self.started_at_ms) | (row_id > self.id)


@dataclass(frozen=True, slots=True)
class Window:
    """What is looked at next, in this order; `rest` is what is left after it."""

    spans: tuple[Span, ...]
    rest: Span


class Walk:
    """Along an index that has the time behind its column, or the time alone."""

    def __init__(self, order: Order, equal: Equal | None = None) -> None:
        self.order = order
        self.covers = equal
        self._plain = [] if equal is None else equal.plain

    def window(self, connection: Connection, span: Span, size: int) -> Window:
        """The next so many rows of the index."""
        started = requests.c.started_at_ms
        edge = (
            select(started)
            .where(*self._plain, started >= span.low, started < span.high)
            .order_by(self.order.sorted(started))
            .offset(size - 1)
            .limit(1)
        )
        at_ms = connection.scalar(edge)
        if at_ms is None:
            return Window((span,), Span(0, 0))
        near, rest = self.order.split(span, at_ms)
        return Window((near,), rest)

    def narrow(self, query: Select[Any], span: Span) -> Select[Any]:
        """The query, along this index."""
        started = requests.c.started_at_ms
        return query.where(*self._plain, started >= span.low, started < span.high).order_by(
            self.order.sorted(started), self.order.sorted(requests.c.id)
        )


class Whole:
    """All that an index without the time has, if that is little."""

    def __init__(self, order: Order, condition: Condition, plain: Sequence[ColumnElement[bool]]) -> None:
        self.order = order
        self.covers = condition
        self._plain = plain

    def window(self, connection: Connection, span: Span, size: int) -> Window | None:  # noqa: ARG002 - all or nothing
        """All of it; None if it is much."""
        some = select(1).select_from(requests).where(*self._plain).limit(RARE + 1).subquery()
        count = connection.scalar(select(func.count()).select_from(some)) or 0
        return Window((span,), Span(0, 0)) if count <= RARE else None

    def narrow(self, query: Select[Any], span: Span) -> Select[Any]:
        """The query, along this index: the time is hidden from the planner."""
        started = requests.c.started_at_ms + 0
        return query.where(*self._plain, started >= span.low, started < span.high).order_by(
            self.order.sorted(started), self.order.sorted(requests.c.id)
        )


class Slots(Walk):
    """Along the time, but only where the tags were seen."""

    def __init__(self, order: Order, tagged: Tagged) -> None:
        super().__init__(order)
        self._tags = [tag_hash(name, value) for name, value in tagged.tags.items()]

    def window(self, connection: Connection, span: Span, size: int) -> Window:
        """The next slots, fewer than there may be rows in them: how many there are is not known."""
        most = min(max(size // ROWS_IN_A_SLOT, 1), MOST_SLOTS)
        found = list(connection.scalars(self._slots(span).limit(most)))
        spans = tuple(self._spans(found, span))
        if len(found) < most:
            return Window(spans, Span(0, 0))
        edge = spans[-1]
        return Window(spans, Span(span.low, edge.low) if self.order.newest_first else Span(edge.high, span.high))

    def _slots(self, span: Span) -> Select[Any]:
        slot = tag_slots.c.slot
        within = (slot >= span.low // SLOT_MS, slot <= (span.high - 1) // SLOT_MS)
        query = select(slot).where(tag_slots.c.tag == self._tags[0], *within)
        for number, tag in enumerate(self._tags[1:]):
            other = tag_slots.alias(f"other_{number}")
            query = query.join(other, (other.c.slot == slot) & (other.c.tag == tag))
        return query.order_by(self.order.sorted(slot))

    def _spans(self, slots: Sequence[int], span: Span) -> Iterator[Span]:
        """The slots' times within the span, a few that follow each other as one."""
        step, at = (-1 if self.order.newest_first else 1), 0
        while at < len(slots):
            end = at + 1
            while end < min(len(slots), at + SLOTS_JOINED) and slots[end] == slots[end - 1] + step:
                end += 1
            first, last = sorted((slots[at], slots[end - 1]))
            yield Span(max(span.low, first * SLOT_MS), min(span.high, (last + 1) * SLOT_MS))
            at = end


Driver = Walk | Whole


@dataclass(frozen=True, slots=True)
class Found:
    """Some requests, and where to go on; `place` None: there are no more. Not `is_full`: the time was over."""

    rows: list[Row]
    place: Place | None
    is_full: bool = True


class Search:
    """One search for the requests that `filters` asks for, on one connection."""

    def __init__(self, connection: Connection, filters: Filters, order: Order, query: Select[Any]) -> None:
        self._connection = connection
        self._filters = filters
        self._order = order
        self._query = query
        self._conditions = filters.conditions()

    def run(self, limit: int, after: Place | None, budget_s: float | None) -> Found:
        """At most `limit` rows. `budget_s` None: however long it takes."""
        ends_at = None if budget_s is None else time.monotonic() + budget_s
        span = Span(self._filters.since_ms or 0, self._filters.until_ms or END_OF_TIME_MS)
        span = span if after is None else after.within(span, self._order)
        query = self._query if after is None else self._query.where(after.after(self._order))
        rows: list[Row] = []
        looked_to: Place | None = None
        for part, driver in self._parts(span):
            if looked_to is not None and ends_at is not None and time.monotonic() > ends_at:
                return Found(rows, looked_to, is_full=False)
            narrowed = driver.narrow(query.where(*self._others(driver)), part).limit(limit + 1 - len(rows))
            rows += (dict(row) for row in self._connection.execute(narrowed).mappings())
            if len(rows) > limit:
                last = rows[limit - 1]
                return Found(rows[:limit], Place(last["started_at_ms"], last["id"]))
            looked_to = Place(part.low if self._order.newest_first else part.high)
        return Found(rows, None)

    def count(self) -> int:
        """How many there are; the database chooses how it counts."""
        started = requests.c.started_at_ms
        told = [each.plain if isinstance(each, Equal) else each.hidden for each in self._conditions]
        conditions = [part for parts in told for part in parts]
        since, until = self._filters.since_ms, self._filters.until_ms
        conditions += [] if since is None else [started >= since]
        conditions += [] if until is None else [started < until]
        return self._connection.scalar(select(func.count()).select_from(requests).where(*conditions)) or 0

    def _parts(self, span: Span) -> Iterator[tuple[Span, Driver]]:
        """The span in the order, in parts that each are looked at soon."""
        drivers, size = self._drivers(), FIRST_WINDOW
        if span.is_empty or not drivers:
            return
        if len(drivers) == 1 and not self._others(drivers[0]):
            yield span, drivers[0]
            return
        driver, window = self._best(drivers, span)
        while True:
            for part in window.spans:
                yield part, driver
            if window.rest.is_empty:
                return
            size = min(size * 4, LARGEST_WINDOW)
            window = driver.window(self._connection, window.rest, size)  # type: ignore[assignment]

    def _best(self, drivers: Sequence[Driver], span: Span) -> tuple[Driver, Window]:
        """The one that is over first, or comes furthest with its first rows."""
        offers = [(driver, driver.window(self._connection, span, FIRST_WINDOW)) for driver in drivers]
        taken = [(driver, window) for driver, window in offers if window is not None]
        # Slots come last: they hold other requests too.
        return min(taken, key=lambda offer: (offer[1].rest.high - offer[1].rest.low, isinstance(offer[0], Slots)))

    def _drivers(self) -> list[Driver]:
        """Every index that there is for the filters; none if there is nothing to be found."""
        found: list[Driver] = []
        for condition in self._conditions:
            match condition:
                case Equal():
                    if condition.column.name == "request_id":
                        found.append(Whole(self._order, condition, condition.plain))
                    elif not condition.is_left_out:
                        found.append(Walk(self._order, condition))
                case Prefix():
                    names = self._models()
                    if len(names) < MOST_MODELS:
                        fitting = [name for name in names if name.startswith(condition.value)]
                        if not fitting:
                            return []
                        found.append(Whole(self._order, condition, OneOf(fitting).plain))
                case Tagged():
                    found.append(Slots(self._order, condition))
                case _:
                    found.append(Whole(self._order, condition, condition.plain))
        return found if any(isinstance(each, Walk) for each in found) else [*found, Walk(self._order)]

    def _others(self, driver: Driver) -> list[ColumnElement[bool]]:
        """What is looked at row by row."""
        return [part for each in self._conditions if each is not driver.covers for part in each.hidden]

    def _models(self) -> list[str]:
        """The models there are: from name to name along the index, in whatever order the database has them."""
        model = requests.c.model
        names = select(func.min(model).label("name")).cte("names", recursive=True)
        following = select(func.min(model)).where(model > names.c.name).scalar_subquery()
        names = names.union_all(select(following).where(names.c.name.is_not(None)))
        found = self._connection.scalars(select(names.c.name).limit(MOST_MODELS))
        return [name for name in found if name is not None]
