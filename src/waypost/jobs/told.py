"""Jobs as they are told to people and programs: times in ISO 8601, money in dollars. One order of fields for all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waypost.jobs.job import told_state
from waypost.ledger.definitions import told_time, usd

if TYPE_CHECKING:
    from waypost.jobs.job import Job, JobEvent


@dataclass(frozen=True, slots=True)
class Content:
    """What is told of a job's content."""

    name: str | None
    media_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of a job's work, such as a call. `begun` counts how often; `ended_at_ms` None: it goes on."""

    name: str
    begun: int
    begun_at_ms: int
    ended_at_ms: int | None
    request_id: str | None
    cost_micro_usd: int | None


@dataclass(frozen=True, slots=True)
class WholeJob:
    """A job with what belongs to it."""

    job: Job
    content: Content | None
    steps: Sequence[Step]


def told_job(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a list."""
    started, ready = row["started_at_ms"], max(row["created_at_ms"], row["not_before_ms"] or 0)
    return {
        "id": row["id"],
        "type": row["type"],
        "state": told_state(row["state"]),
        "error": row["error"],
        "progress": {"done": row["progress_done"], "total": row["progress_total"]},
        "created_at": told_time(row["created_at_ms"]),
        "started_at": told_time(started),
        "ended_at": told_time(row["ended_at_ms"]),
        "expires_at": told_time(row["expires_at_ms"]),
        "queued_ms": None if started is None else max(0, started - ready),
        "cancel_requested": row["cancel_requested_at_ms"] is not None,
        "cost_usd": usd(row["cost_micro_usd"]),
        "cost_is_estimate": row["cost_is_estimate"],
        "possibly_paid_twice": row["possibly_paid_twice"],
        "usage": row["usage"],
        "provider": row["provider"],
        "model": row["model"],
        "runs": row["runs"],
        "priority": row["priority"],
        "tags": row["tags"] or {},
        "project_id": row["project_id"],
        "key_id": row["key_id"],
        "end_user": row["end_user"],
        "batch_id": row["batch_id"],
        "batch_index": row["batch_index"],
        "webhook": row["webhook_url"],
    }


def told_whole(whole: WholeJob) -> dict[str, Any]:
    """A job with its result, its content's size, and the steps it took."""
    job = whole.job
    row = {name: getattr(job, name) for name in job.__dataclass_fields__}
    content = whole.content
    return {
        **told_job(row),
        "request": dict(job.request),
        "content": None
        if content is None
        else {"name": content.name, "media_type": content.media_type, "size_bytes": content.size_bytes},
        "steps": [_told_step(step) for step in whole.steps],
        "result": None if job.result is None else json.loads(job.result),
    }


def told_event(event: JobEvent) -> dict[str, Any]:
    """What happened, and when."""
    return {"at": told_time(event.at_ms), **json.loads(event.data)}


def _told_step(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "attempts": step.begun,
        "begun_at": told_time(step.begun_at_ms),
        "ended_at": told_time(step.ended_at_ms),
        "request_id": step.request_id,
        "cost_usd": usd(step.cost_micro_usd) if step.ended_at_ms is not None else None,
    }
