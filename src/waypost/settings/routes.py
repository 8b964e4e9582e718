"""The settings of routes: whom they ask, in which order or share, and how hard they try."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from waypost.settings.fields import KIBIBYTE, MEBIBYTE, Name, Part, Seconds, SizeBytes, refuse_boolean

TEXT_TAG = "(text)"
WEIGHTED_TAG = "(weighted)"


class PolicySettings(Part):
    """How hard a route tries before it gives up."""

    max_attempts: Annotated[int, Field(ge=1, le=20), BeforeValidator(refuse_boolean)] = 4
    """Calls that one request may make, over all targets and retries."""
    max_retries: Annotated[int, Field(ge=0, le=10), BeforeValidator(refuse_boolean)] = 1
    """Calls that may be made again to one target before the next is asked."""
    total_s: Seconds | None = 600
    """Seconds for the whole request, waits included; null is no limit."""
    first_token_s: Seconds | None = 10
    """Seconds a stream may take to its first token before the next target is asked; null is no limit."""
    slow_first_token_s: Seconds | None = 120
    """The same for local models and requests that ask for reasoning."""
    backoff_first_s: Seconds = 0.5
    """Longest wait before a first retry; it doubles with each."""
    backoff_limit_s: Seconds = 8
    """Longest wait before any retry."""
    retry_after_limit_s: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False), BeforeValidator(refuse_boolean)] = (
        10
    )
    """Longest wait a provider may ask for; if it asks for more, the next target is asked."""
    balance: Literal["priority", "weighted", "least_latency"] = "priority"
    """Which target is asked first: the first in the list, one at random by weight, or the quickest of late."""
    fall_back_on: tuple[Literal["context_length", "content_policy", "bad_request"], ...] = ("context_length",)
    """Refusals after which another target may be asked; context_length asks only one with a larger window."""
    hedge_after_s: Seconds | None = None
    """Seconds without a first token (not streamed: an answer) until a second target is asked too; null: never."""
    hedge_max_cost_usd: Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(refuse_boolean)] | None = (
        None
    )
    """Most that a second call may cost in US dollars by its estimate; null is no limit."""
    recover: bool = True
    """Whether a stream of plain text that breaks is continued where it stopped."""
    recover_buffer_bytes: SizeBytes = 256 * KIBIBYTE
    """Longest text that is kept to continue a stream from, in bytes."""
    recover_through_user_turn: bool = False
    """Whether a model that cannot continue its own answer may be asked to by a message, which may show in the text."""
    unsupported: Literal["reject", "warn", "drop"] = "warn"
    """What is done with a request that needs what a target lacks: refused, sent with a warning, or sent without it."""

    @model_validator(mode="after")
    def _cap_of_something(self) -> PolicySettings:
        if self.hedge_max_cost_usd is not None and self.hedge_after_s is None:
            raise ValueError("has hedge_max_cost_usd, which does nothing without hedge_after_s")
        return self


class TargetSettings(Part):
    """A target with its share of the requests."""

    target: Name
    """Where requests go: provider/model, a provider (its default model), a route or an alias."""
    weight: Annotated[int, Field(ge=0, le=1000), BeforeValidator(refuse_boolean)] = 1
    """Its share beside the others' weights, where the policy's balance is weighted; 0: asked after all others only."""


class CacheSettings(Part):
    """A cache of whole answers to requests that are equal to the last character."""

    ttl_s: Seconds = 300
    """Seconds that an answer is kept."""
    max_bytes: Annotated[SizeBytes, Field(ge=1)] = 64 * MEBIBYTE
    """Memory that one process keeps for this route's answers, in bytes."""


def _target_tag(value: Any) -> str:
    return WEIGHTED_TAG if isinstance(value, dict | TargetSettings) else TEXT_TAG


RouteTarget: TypeAlias = Annotated[
    Annotated[str, Tag(TEXT_TAG)] | Annotated[TargetSettings, Tag(WEIGHTED_TAG)], Discriminator(_target_tag)
]


class RouteSettings(Part):
    """A name that stands for an ordered list of targets."""

    targets: Annotated[tuple[RouteTarget, ...], Field(min_length=1)]
    """Where requests go, in order: provider/model, a provider (its default model), a route or an alias."""
    policy: PolicySettings = Field(default_factory=PolicySettings)
    """How hard it tries."""
    cache: CacheSettings | None = None
    """Answers that are given again to an equal request of the same caller; null keeps none."""
    store_bodies: bool = False
    """Whether requests and answers are stored for the request log, without secrets and media; projects may ask too."""
    provider_storage: bool = False
    """Whether OpenAI, too, may store the answers of /v1/responses that Waypost stores."""
    provider_batches: bool = False
    """Whether batches that ask for the lower price may go through the provider's batch API, which may take a day."""

    @model_validator(mode="after")
    def _somebody_is_asked(self) -> RouteSettings:
        if not any(weight for _, weight in self.weights):
            raise ValueError("has targets of weight 0 only; one must have more")
        return self

    @property
    def weights(self) -> tuple[tuple[str, int], ...]:
        """Each target's text and weight, in order."""
        return tuple((entry, 1) if isinstance(entry, str) else (entry.target, entry.weight) for entry in self.targets)
