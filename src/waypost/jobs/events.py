"""What happens to a job, numbered without gaps, so that whoever watches it can go on where he left off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, and_, insert, or_, select, update

from waypost.jobs.job import JobEvent
from waypost.store.job_tables import job_events, jobs
from waypost.store.types import to_json

MOST_EVENTS: Final = 1_000
"""That are read at once."""
MOST_JOBS: Final = 10_000
"""That one statement asks for: databases bound how many values it may have."""
MOST_CHANGED: Final = 200
"""Whose events one statement reads: databases bound how deep a condition may be."""
COLUMNS: Final = [job_events.c[name] for name in JobEvent.__dataclass_fields__]


def append_event(connection: Connection, job_id: str, name: str, data: Mapping[str, Any], now_ms: int) -> int | None:
    """Write down what happened; gives its number. None: there is no such job any more."""
    # The update takes the row's lock first, so that two writers get two numbers.
    count = update(jobs).where(jobs.c.id == job_id).values(last_event=jobs.c.last_event + 1)
    number = connection.execute(count.returning(jobs.c.last_event)).scalar()
    if number is not None:
        told = {"number": number, "at_ms": now_ms, "name": name, "data": to_json(dict(data))}
        connection.execute(insert(job_events).values(job_id=job_id, **told))
    return number


def events_after(connection: Connection, job_id: str, number: int, limit: int = MOST_EVENTS) -> Sequence[JobEvent]:
    """Those after the one with this number, in order."""
    query = select(*COLUMNS).where(job_events.c.job_id == job_id, job_events.c.number > number)
    rows = connection.execute(query.order_by(job_events.c.number).limit(limit)).mappings()
    return [JobEvent(**row) for row in rows]


def news_of(connection: Connection, wanted: Mapping[str, int]) -> Mapping[str, Sequence[JobEvent] | None]:
    """By job: its events after the number that is wanted, in order, or None if there is no such job any more.

    A job without news is not in it; neither are those of a job whose events did not fit: they are told the next time.
    """
    known: dict[str, int] = {}
    ids = list(wanted)
    for at in range(0, len(ids), MOST_JOBS):
        some = select(jobs.c.id, jobs.c.last_event).where(jobs.c.id.in_(ids[at : at + MOST_JOBS]))
        known.update((row.id, row.last_event) for row in connection.execute(some))
    news: dict[str, Sequence[JobEvent] | None] = {job_id: None for job_id in ids if job_id not in known}
    changed = [job_id for job_id, last in known.items() if last > wanted[job_id]]
    for at in range(0, len(changed), MOST_CHANGED):
        news.update(_events_of(connection, {job_id: wanted[job_id] for job_id in changed[at : at + MOST_CHANGED]}))
    return news


def _events_of(connection: Connection, wanted: Mapping[str, int]) -> Mapping[str, Sequence[JobEvent]]:
    which = [and_(job_events.c.job_id == job_id, job_events.c.number > after) for job_id, after in wanted.items()]
    query = select(job_events.c.job_id, *COLUMNS).where(or_(*which))
    found: dict[str, list[JobEvent]] = {}
    for job_id, *values in connection.execute(
        query.order_by(job_events.c.job_id, job_events.c.number).limit(MOST_EVENTS)
    ):
        found.setdefault(job_id, []).append(JobEvent(*values))
    return found
