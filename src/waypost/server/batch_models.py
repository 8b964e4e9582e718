"""What is asked and told of batches, as Pydantic models: they validate what comes in and make the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from waypost.jobs.batch import MOST_ITEMS
from waypost.jobs.job import BATCH_PRIORITY, FIRST, LAST
from waypost.server.job_models import MOST_KINDS, EndUser, IdempotencyKey, Tags, Time
from waypost.server.models import LONGEST_MODEL, Wire

MOST_INLINE: Final = 1_000
LONGEST_NAME: Final = 200
Items = Annotated[list[dict[str, Any] | str], Field(max_length=MOST_INLINE)]
Index = Annotated[int, Field(ge=0, lt=MOST_ITEMS)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00-\x1f\x7f]+$")]


class BatchRequest(Wire):
    """A batch, and what all of its items have in common."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name | None = None
    """What you call it."""
    type: Literal["analyze", "generate"] = "analyze"
    """What is done with each item: it is analyzed, or it is a prompt that is answered."""
    kinds: Annotated[list[str] | None, Field(min_length=1, max_length=MOST_KINDS, examples=[["analysis"]])] = None
    """Which analyses to make. Without it the built-in one: `analysis`."""
    model: Annotated[str | None, Field(min_length=1, max_length=LONGEST_MODEL)] = None
    """A route, an alias, `provider/model`, or a model's id. Without it the kind's own, else the default route."""
    allow_offline: bool = False
    """May an analyzer without a language model stand in if no provider answers?"""
    lower_price: bool = False
    """Have providers do it by their own batches: at a lower price, and within a day. The route must allow it."""
    priority: Annotated[int, Field(ge=FIRST, le=LAST)] = BATCH_PRIORITY
    """0 is done first, 9 last."""
    tags: Tags = Field(default_factory=dict)
    """What the batch is for: its items and their calls have them too."""
    user: EndUser | None = None
    """Your id for the person it is for, whose budget it goes to."""
    webhook: str | None = None
    """An address that is told when the batch has ended: `batch.finished`."""
    idempotency_key: IdempotencyKey | None = None
    """As the header Idempotency-Key: the same key and request again give the same batch."""
    items: Items | None = None
    """The items, if they are few: texts, or objects with `content` and, if you like, `id`. The batch is closed then."""


class BatchItems(Wire):
    """More items of an open batch."""

    model_config = ConfigDict(extra="forbid", strict=True)

    items: Annotated[list[dict[str, Any] | str], Field(min_length=1, max_length=MOST_INLINE)]
    """Texts, or objects with `content` and, if you like, `id`."""
    first: Index | None = None
    """The place of the first of them, from 0; the same items in the same places again add nothing. Without it, they
    come after all that are there."""


class BatchAdded(Wire):
    """What came of adding."""

    added: int
    """Items that are new."""
    known: int
    """Items that were there already."""
    next: int
    """The place after the last of them: `first` of the next request."""


class BatchCounts(Wire):
    """How many items are in which state."""

    added: int
    """All that were added so far."""
    queued: int
    """Wait."""
    running: int
    """Are being done."""
    at_provider: int
    """Those of them that a provider has in a batch of its own."""
    succeeded: int
    """Are done."""
    failed: int
    """Have failed, those that were never usable among them."""
    cancelled: int
    """Were cancelled."""


class ProviderBatchModel(Wire):
    """Items of a batch that went to a provider together."""

    id: str
    """Its id."""
    provider: str
    """Who has it."""
    model: str
    """Which model is asked."""
    state: Literal["filling", "sending", "unsure", "running", "refused", "over"]
    """unsure: it is not known yet whether the provider has it. The last two are ends."""
    provider_batch: str | None
    """The provider's name for it."""
    provider_state: str | None
    """How it stands, in the provider's words."""
    requests: int
    """How many items are in it."""
    sent_at: Time | None
    """When it was sent."""
    ended_at: Time | None
    """When all of its results were there."""
    trouble: str | None
    """What went wrong last, if it goes on."""


class BatchModel(Wire):
    """A batch, with how its items stand and what they came to so far."""

    id: str
    """Its id."""
    name: str | None
    """What you call it."""
    state: Literal["open", "running", "finished", "cancelled"]
    """open: items are still added, and done already. The last two are ends."""
    type: str
    """What is done with each item."""
    request: dict[str, Any]
    """What all items have in common."""
    total: int | None
    """How many items it has; null: it is open still."""
    counts: BatchCounts
    """How they stand."""
    cost_usd: float
    """What they came to so far, in US dollars."""
    cost_is_estimate: bool
    """Is a part of that an estimate?"""
    without_price: int
    """Items that were done and whose cost is not known, so that the sum lacks it."""
    provider_batches: list[ProviderBatchModel] | None
    """What of it went to providers, the oldest first; null in lists."""
    cancel_requested: bool
    """Was its end asked for?"""
    created_at: Time
    """When it was begun."""
    ended_at: Time | None
    """When it ended."""
    expires_at: Time | None
    """Until when it is kept."""
    priority: int
    """0 is done first, 9 last."""
    tags: dict[str, str]
    """What it is for."""
    project_id: str
    """Whose it is."""
    key_id: str
    """The key that it was asked for with, and whose limits hold."""
    end_user: str | None
    """The person it is for."""
    webhook: str | None
    """Who is told of its end."""


class BatchPage(Wire):
    """One page of batches, the newest first."""

    items: list[BatchModel]
    """The batches."""
    next: str | None
    """Give it as `after` for the next page; null: this was the last."""


class BatchRetried(Wire):
    """What came of a retry."""

    retried: int
    """Items that are done anew."""
    batch: BatchModel
    """The batch."""
