"""Batches as they are told to people and programs: times in ISO 8601, money in dollars. One order of fields for all."""

from __future__ import annotations

from typing import Any

from waypost.jobs.batch import Batch, Counts
from waypost.ledger.definitions import told_time, usd


def told_batch(batch: Batch, counts: Counts) -> dict[str, Any]:
    """A batch with how its items stand and what they came to so far."""
    asked = batch.asked
    return {
        "id": batch.id,
        "name": batch.name,
        "state": batch.state,
        "type": asked.type,
        "request": dict(asked.request),
        "total": batch.total,
        "counts": {
            "added": counts.all,
            "queued": counts.queued,
            "running": counts.running,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
        },
        "cost_usd": usd(counts.cost_micro_usd),
        "cost_is_estimate": counts.cost_is_estimate,
        "without_price": counts.unpriced,
        "cancel_requested": batch.cancel_requested_at_ms is not None,
        "created_at": told_time(batch.created_at_ms),
        "ended_at": told_time(batch.ended_at_ms),
        "expires_at": told_time(batch.expires_at_ms),
        "priority": asked.priority,
        "tags": dict(batch.tags or {}),
        "project_id": batch.project_id,
        "key_id": batch.key_id,
        "end_user": asked.end_user,
        "webhook": batch.webhook_url,
    }
