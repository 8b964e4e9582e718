"""The message to the webhook of a job or batch that has ended: written in the transaction that ends it, sent later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from waypost.jobs.batch_told import told_batch
from waypost.ledger.books import now_ms
from waypost.ledger.definitions import told_time, usd
from waypost.webhooks.events import WebhookEvent
from waypost.webhooks.log import enqueue

if TYPE_CHECKING:
    from waypost.jobs.batch import Batch, Counts
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


def tell_batch_end(connection: Connection, batch: Batch, counts: Counts) -> None:
    """Have it told that a batch has ended, if it names a webhook."""
    if batch.webhook_url is None:
        return
    at_ms = now_ms()
    told = {**told_batch(batch, counts), "url": f"/api/ai/batches/{batch.id}"}
    data = {("batch_id" if name == "id" else name): value for name, value in told.items() if name not in _NOT_TOLD}
    done = f"{counts.succeeded} of {counts.all} items succeeded"
    event = WebhookEvent("batch.finished", data, batch.ended_at_ms or at_ms, f"Batch {batch.id} has ended: {done}.")
    enqueue(connection, event, url=batch.webhook_url, now_ms=at_ms, project_id=batch.project_id, about=batch.id)


_NOT_TOLD: Final = frozenset({"request", "webhook", "key_id", "project_id", "expires_at"})


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
