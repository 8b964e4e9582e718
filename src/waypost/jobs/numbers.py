"""How the jobs of all projects stand, in numbers: depth, age, time in queue, failures. In threads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, func, select, union_all

from waypost.jobs.job import CRASHED, WAITING, told_state
from waypost.jobs.lease import alive_executors
from waypost.store.job_tables import jobs

BEGUN: Final = ("running", "succeeded", "failed")
SAMPLE: Final = 100
"""Jobs whose time in the queue is looked at: the last that were begun."""
HOUR_MS: Final = 3_600_000
UNFINISHED: Final = ("queued", "running")


def job_numbers(connection: Connection, now_ms: int) -> dict[str, Any]:
    """The numbers. `depth` is by state and type; ages and times are in seconds, None where there is nothing to tell."""
    depth: dict[str, dict[str, int]] = {state: {} for state in UNFINISHED}
    count = select(jobs.c.state, jobs.c.type, func.count()).where(jobs.c.state.in_((*UNFINISHED, WAITING)))
    for state, kind, number in connection.execute(count.group_by(jobs.c.state, jobs.c.type)):
        of_state = depth[told_state(state)]
        of_state[kind] = of_state.get(kind, 0) + number
    waits = _waits_ms(connection)
    return {
        "depth": depth,
        "oldest_queued_s": _oldest_queued_s(connection, now_ms),
        "queue_time_p50_s": _quantile_s(waits, 0.5),
        "queue_time_p95_s": _quantile_s(waits, 0.95),
        "failed_last_hour": _failed(connection, jobs.c.ended_at_ms >= now_ms - HOUR_MS),
        "dead": _failed(connection, jobs.c.error["code"].as_string() == CRASHED),
        "workers": len(alive_executors(connection)),
    }


def _oldest_queued_s(connection: Connection, now_ms: int) -> float | None:
    """Since when the job waits that has waited longest; one that is to begin later does not wait yet."""
    due = (jobs.c.not_before_ms.is_(None)) | (jobs.c.not_before_ms <= now_ms)
    query = select(jobs.c.created_at_ms, jobs.c.not_before_ms).where(jobs.c.state == "queued", due)
    row = connection.execute(query.order_by(jobs.c.created_at_ms).limit(1)).first()
    return None if row is None else max(0, now_ms - max(row.created_at_ms, row.not_before_ms or 0)) / 1000


def _waits_ms(connection: Connection) -> Sequence[int]:
    """Of the last that were begun, among the newest of each state; sorted."""
    columns = (jobs.c.created_at_ms, jobs.c.not_before_ms, jobs.c.started_at_ms)
    newest = [
        select(
            select(*columns).where(jobs.c.state == state).order_by(jobs.c.created_at_ms.desc()).limit(SAMPLE).subquery()
        )
        for state in BEGUN
    ]
    rows = [row for row in connection.execute(union_all(*newest)) if row.started_at_ms is not None]
    last = sorted(rows, key=lambda row: int(row.started_at_ms))[-SAMPLE:]
    return sorted(max(0, row.started_at_ms - max(row.created_at_ms, row.not_before_ms or 0)) for row in last)


def _quantile_s(waits_ms: Sequence[int], share: float) -> float | None:
    return waits_ms[min(len(waits_ms) - 1, int(len(waits_ms) * share))] / 1000 if waits_ms else None


def _failed(connection: Connection, condition: Any) -> int:
    return connection.scalar(select(func.count()).select_from(jobs).where(jobs.c.state == "failed", condition)) or 0
