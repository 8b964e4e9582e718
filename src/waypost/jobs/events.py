"""What happens to a job, numbered without gaps, so that whoever watches it can go on where he left off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from waypost.jobs.job import JobEvent
from waypost.store.job_tables import job_events, jobs
from waypost.store.types import to_json

MOST_EVENTS: Final = 1_000
"""That are read at once."""


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
    columns = [job_events.c[name] for name in JobEvent.__dataclass_fields__]
    query = select(*columns).where(job_events.c.job_id == job_id, job_events.c.number > number)
    rows = connection.execute(query.order_by(job_events.c.number).limit(limit)).mappings()
    return [JobEvent(**row) for row in rows]
