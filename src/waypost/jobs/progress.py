"""What a worker writes down of a job that it does: steps, progress, and how it ended. In transactions, in threads.

All of it holds only as long as the job is the worker's: see `jobs.holding`. Each may be done twice, as after a commit
whose answer was lost, and then changes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from waypost.jobs.body import StepDone
from waypost.jobs.costs import total
from waypost.jobs.events import append_event
from waypost.jobs.holding import Run, demand
from waypost.jobs.job import Cost, Job, JobEnd
from waypost.jobs.rows import find
from waypost.store.job_tables import job_steps, jobs
from waypost.store.types import to_json

OnEnd: TypeAlias = Callable[[Connection, Job], None]
"""Is told of a job's end, in the transaction that ends it. What it raises undoes that."""
NOTHING: Final = Cost()


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step gave."""

    value: Any


def begin_step(connection: Connection, run: Run, name: str, now_ms: int) -> StepResult | None:
    """A step begins, or has come to its end before: then what it gave. Raises RunLost.

    One that was under way when its worker died may have cost something already, which is counted.
    """
    demand(connection, run)
    own = _own(run, name)
    row = connection.execute(select(job_steps).where(*own)).first()
    if row is None:
        begun = {"executor_id": run.executor_id, "begun_at_ms": now_ms, "begun": 1}
        connection.execute(insert(job_steps).values(job_id=run.job_id, name=name, **begun))
        return None
    if row.ended_at_ms is not None:
        return StepResult(_read(row).get("result"))
    if row.executor_id not in (None, run.executor_id):
        twice = jobs.c.possibly_paid_twice + 1
        connection.execute(update(jobs).where(run.held).values(possibly_paid_twice=twice))
    again = {"executor_id": run.executor_id, "begun_at_ms": now_ms, "begun": job_steps.c.begun + 1}
    connection.execute(update(job_steps).where(*own).values(**again))
    return None


def end_step(
    connection: Connection, run: Run, name: str, done: StepDone, now_ms: int, lost: Sequence[Cost] = ()
) -> None:
    """The step has come to its end. `lost` is what calls came to that gave nothing. Raises RunLost."""
    demand(connection, run)
    own = _own(run, name)
    row = connection.execute(select(job_steps).where(*own)).first()
    if row is None:
        # A database that may lose what it has committed lost the begin.
        begin_step(connection, run, name, now_ms)
    if row is None or row.ended_at_ms is None:
        spent = total([*_spent(row), *lost, done.cost])
        values = {**_written(spent, {"result": done.result}), "request_id": done.request_id, "ended_at_ms": now_ms}
        connection.execute(update(job_steps).where(*own).values(**values))


def leave_step(connection: Connection, run: Run, name: str, lost: Sequence[Cost]) -> None:
    """The step failed, or was cancelled: nothing of it is under way any more. Raises RunLost."""
    demand(connection, run)
    own = (*_own(run, name), job_steps.c.ended_at_ms.is_(None), job_steps.c.executor_id.is_not(None))
    row = connection.execute(select(job_steps).where(*own)).first()
    if row is not None:
        values = _written(total([*_spent(row), *lost]), {})
        connection.execute(update(job_steps).where(*own).values(executor_id=None, **values))


def note_progress(connection: Connection, run: Run, done: int, total_count: int | None, now_ms: int) -> None:
    """So much is done. Raises RunLost."""
    demand(connection, run)
    values = {"progress_done": done, "progress_total": total_count}
    connection.execute(update(jobs).where(run.held).values(**values))
    append_event(connection, run.job_id, "progress", {"done": done, "total": total_count}, now_ms)


def note_event(connection: Connection, run: Run, name: str, data: Mapping[str, Any], now_ms: int) -> None:
    """Something happened. Raises RunLost."""
    demand(connection, run)
    append_event(connection, run.job_id, name, data, now_ms)


def finish(
    connection: Connection, run: Run, end: JobEnd, now_ms: int, expires_at_ms: int, on_end: Sequence[OnEnd] = ()
) -> Job:
    """The job has ended. Gives it as it is now. Raises RunLost."""
    demand(connection, run)
    spent = total([*cost_of_steps(connection, run.job_id), end.cost])
    values = {
        "state": end.state,
        "result": None if end.result is None else to_json(end.result),
        "error": None if end.error is None else end.error.told(),
        "cost_micro_usd": spent.micro_usd,
        "cost_is_estimate": spent.is_estimate,
        "usage": dict(spent.usage) or None,
        "provider": spent.provider,
        "model": spent.model,
        "ended_at_ms": now_ms,
        "expires_at_ms": expires_at_ms,
    }
    connection.execute(update(jobs).where(run.held).values(**values))
    append_event(connection, run.job_id, end.state, {} if end.error is None else end.error.told(), now_ms)
    job = find(connection, None, run.job_id)
    for tell in on_end:
        tell(connection, job)
    return job


def cost_of_steps(connection: Connection, job_id: str) -> list[Cost]:
    """What each step of the job came to so far, failed tries included, in the order in which they ended."""
    query = select(job_steps).where(job_steps.c.job_id == job_id).order_by(job_steps.c.ended_at_ms, job_steps.c.name)
    return [cost for row in connection.execute(query) for cost in _spent(row)]


def _own(run: Run, name: str) -> tuple[Any, ...]:
    return (job_steps.c.job_id == run.job_id, job_steps.c.name == name)


def _written(spent: Cost, kept: dict[str, Any]) -> dict[str, Any]:
    """The columns for it. Beside the result there is what the sum for the job is made of."""
    told = {
        "usage": dict(spent.usage),
        "is_estimate": spent.is_estimate,
        "provider": spent.provider,
        "model": spent.model,
    }
    kept = {**kept, **{name: value for name, value in told.items() if value}}
    return {"cost_micro_usd": spent.micro_usd, "result": to_json(kept)}


def _spent(row: Row[Any] | None) -> list[Cost]:
    if row is None or row.result is None:
        # It was never left nor ended, so that nothing is known of what it cost.
        return []
    told = _read(row)
    is_estimate, usage = told.get("is_estimate", False), told.get("usage", {})
    return [Cost(row.cost_micro_usd, is_estimate, usage, told.get("provider"), told.get("model"))]


def _read(row: Row[Any]) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(row.result)
    return found
