"""The message to a job's webhook when the job has ended: written in the transaction that ends it, sent afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from waypost.ledger.books import now_ms
from waypost.ledger.definitions import told_time, usd
from waypost.webhooks.events import WebhookEvent
from waypost.webhooks.log import enqueue

if TYPE_CHECKING:
    from waypost.jobs.job import Job
    from waypost.webhooks.events import EventType

_TOLD: Mapping[str, tuple[EventType, str]] = {
    "succeeded": ("job.succeeded", "succeeded"),
    "failed": ("job.failed", "failed"),
    "cancelled": ("job.cancelled", "been cancelled"),
}


def tell_end(connection: Connection, job: Job) -> None:
    """Have it told, if the job names a webhook. Implements OnEnd."""
    if job.webhook_url is None or job.state not in _TOLD:
        return
    kind, verb = _TOLD[job.state]
    at_ms = now_ms()
    event = WebhookEvent(kind, _told(job), job.ended_at_ms or at_ms, f"Job {job.id} has {verb}.")
    enqueue(connection, event, url=job.webhook_url, now_ms=at_ms, project_id=job.project_id, about=job.id)


def _told(job: Job) -> dict[str, Any]:
    """Ids and figures. The result is fetched with a key."""
    return {
        "job_id": job.id,
        "type": job.type,
        "state": job.state,
        "url": f"/api/ai/jobs/{job.id}",
        "error": None if job.error is None else {"code": job.error.get("code"), "message": job.error.get("message")},
        "created_at": told_time(job.created_at_ms),
        "ended_at": told_time(job.ended_at_ms),
        "cost_usd": usd(job.cost_micro_usd),
        "tags": dict(job.tags or {}),
        "batch_id": job.batch_id,
    }
