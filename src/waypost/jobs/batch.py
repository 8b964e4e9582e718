"""What a batch is: values only. `jobs.batches` keeps them, `jobs.batch_items` what is in them.

A batch is open while items are added, then running until the last of them has ended. The invariant: an item is known by
its place in the batch (`index`, from 0), and its job's id follows from that: an item that is added twice is one job.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from waypost.jobs.job import BATCH_PRIORITY, Input, JobError

BatchState: TypeAlias = Literal["open", "running", "finished", "cancelled"]
BATCH_STATES: Final[tuple[BatchState, ...]] = ("open", "running", "finished", "cancelled")
BATCH_ENDED: Final[frozenset[BatchState]] = frozenset({"finished", "cancelled"})
UNUSABLE_ITEM: Final = "unusable_item"
"""The error code of an item that could not be made a job. It is not done again by a retry."""
LOWER_PRICE: Final = "lower_price"
"""In a request: do its calls go by the provider's batches, as far as they can?"""
MOST_ITEMS: Final = 2**32
_TIME_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What all items have in common. `type` is their jobs' type, `request` what each job's request begins with."""

    type: str
    request: Mapping[str, Any] = field(default_factory=dict)
    priority: int = BATCH_PRIORITY
    end_user: str | None = None

    def told(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "type": self.type,
            "request": dict(self.request),
            "priority": self.priority,
            "end_user": self.end_user,
        }


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What is asked for. `idempotency`: a key of the caller's; the same again gives the same batch."""

    project_id: str
    key_id: str
    request: BatchRequest
    name: str | None = None
    idempotency: str | None = None
    tags: Mapping[str, str] | None = None
    webhook_url: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it is in the database: see `store.job_tables.batches`. Times are Unix ms."""

    id: str
    project_id: str
    key_id: str
    name: str | None
    state: BatchState
    request: Mapping[str, Any]
    total: int | None
    tags: Mapping[str, str] | None
    webhook_url: str | None
    cancel_requested_at_ms: int | None
    created_at_ms: int
    ended_at_ms: int | None
    expires_at_ms: int | None

    @property
    def asked(self) -> BatchRequest:
        """What all of its items have in common."""
        return BatchRequest(**self.request)

    @property
    def has_ended(self) -> bool:
        """Will nothing more become of it by itself?"""
        return self.state in BATCH_ENDED


@dataclass(frozen=True, slots=True)
class Item:
    """One of many. `request` is what is its own, over the batch's. `name` is the caller's name for it.

    `error`: it could not be made a job; it is there all the same, as one that failed.
    """

    index: int
    input: Input | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    error: JobError | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of a batch's items are in which state, and what they came to so far.

    `unpriced`: items that were done and of which no cost is known, so that the sum lacks theirs.
    """

    queued: int = 0
    running: int = 0
    waiting: int = 0
    """At a provider, in its batches."""
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    cost_micro_usd: int = 0
    unpriced: int = 0
    cost_is_estimate: bool = False

    @property
    def ended(self) -> int:
        """Items of which nothing more becomes."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def unfinished(self) -> int:
        """Items that are still to be done."""
        return self.queued + self.running + self.waiting

    @property
    def all(self) -> int:
        """Every item that was added."""
        return self.ended + self.unfinished

    @property
    def told(self) -> dict[str, int]:
        """By the states that people and programs are told."""
        return {
            "queued": self.queued,
            "running": self.running + self.waiting,
            "at_provider": self.waiting,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "cancelled": self.cancelled,
        }


def item_id(batch_id: str, index: int) -> str:
    """The id of an item's job. Ids sort by the batch's time, then by the item's place. Raises ValueError."""
    if not 0 <= index < MOST_ITEMS:
        raise ValueError(f"an item's place must be from 0 to {MOST_ITEMS - 1}")
    own = batch_id.partition("_")[2]
    digest = hashlib.sha256(own.encode(errors="surrogatepass")).hexdigest()
    return f"job_{own[:_TIME_DIGITS]}{index:08x}{digest[:_TIME_DIGITS]}"
