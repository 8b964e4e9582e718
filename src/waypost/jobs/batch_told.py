"""Batches as they are told to people and programs: times in ISO 8601, money in dollars. One order of fields for all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from waypost.jobs.batch import Batch, Counts
from waypost.jobs.job import Job
from waypost.ledger.definitions import told_time, usd

if TYPE_CHECKING:
    from waypost.jobs.provider_batches import ProviderBatch

ITEM_NAME: Final = "item"
"""The key in a job's request under which the caller's own name for an item is."""
BEGINNING: Final = b'{"index":'
"""How the lines of results begin: by it a line of ours is known that was cut off."""


def told_batch(batch: Batch, counts: Counts, at_providers: Sequence[ProviderBatch] | None = None) -> dict[str, Any]:
    """A batch with how its items stand and what they came to so far. `at_providers`: what of it is at providers."""
    asked = batch.asked
    return {
        "id": batch.id,
        "name": batch.name,
        "state": batch.state,
        "type": asked.type,
        "request": dict(asked.request),
        "total": batch.total,
        "counts": {"added": counts.all, **counts.told},
        "cost_usd": usd(counts.cost_micro_usd),
        "cost_is_estimate": counts.cost_is_estimate,
        "without_price": counts.unpriced,
        "provider_batches": None if at_providers is None else [each.told() for each in at_providers],
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


def result_line(job: Job) -> bytes:
    """What came of an item, as a line of JSON."""
    told: dict[str, Any] = {
        "index": job.batch_index,
        "id": job.request.get(ITEM_NAME),
        "job_id": job.id,
        "status": job.state,
    }
    if job.result is not None:
        told["result"] = json.loads(job.result)
    if job.state != "succeeded":
        error = job.error or {"code": job.state, "message": "The item was cancelled."}
        told["error"] = {"code": error["code"], "message": error["message"]}
    told |= {
        "provider": job.provider,
        "model": job.model,
        "usage": job.usage,
        "cost_usd": usd(job.cost_micro_usd),
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"
