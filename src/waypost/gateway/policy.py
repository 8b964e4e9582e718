"""How hard a route tries, as a value. The numbers here are the defaults for every route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from waypost.errors import (
    ContentPolicyViolation,
    ContextLengthExceeded,
    ProviderBadRequest,
    ProviderRequestTooLarge,
    WaypostError,
)

FallbackClass: TypeAlias = Literal["context_length", "content_policy", "bad_request"]


@dataclass(frozen=True, slots=True)
class Policy:
    """One budget of attempts and one deadline hold for the whole request, over retries and fallbacks.

    Times are in seconds. `max_attempts` counts every call made; `max_retries` are those of one target after its
    first. `first_token_s` bounds the wait for content of a streamed attempt, except of the last target, which keeps
    the total deadline; None is no limit. `slow_first_token_s` takes its place where a model thinks first or runs on
    this machine. `retry_after_limit_s` is the longest wait a provider may ask for. `balance` says which target is
    first; `fall_back_on`, which refusals are no reason to stop. A second call is made beside the first after
    `hedge_after_s`, None never. `recover`: a broken stream of plain text, of at most `recover_buffer_bytes`, is
    continued. `unsupported`: what is done about what a target cannot do.
    """

    max_attempts: int = 4
    max_retries: int = 1
    total_s: float | None = 600.0
    first_token_s: float | None = 10.0
    slow_first_token_s: float | None = 120.0
    backoff_first_s: float = 0.5
    backoff_limit_s: float = 8.0
    retry_after_limit_s: float = 10.0
    balance: Literal["priority", "weighted", "least_latency"] = "priority"
    fall_back_on: tuple[FallbackClass, ...] = ("context_length",)
    hedge_after_s: float | None = None
    hedge_max_cost_usd: float | None = None
    recover: bool = True
    recover_buffer_bytes: int = 256 * 1024
    recover_through_user_turn: bool = False
    unsupported: Literal["reject", "warn", "drop"] = "warn"


NO_RETRIES = Policy(max_attempts=1_000, max_retries=0, total_s=None, first_token_s=None, slow_first_token_s=None)
"""Each candidate once, with no limits but the providers' own."""


FALLBACK_CLASSES: Final[Mapping[type[WaypostError], FallbackClass]] = {
    ContextLengthExceeded: "context_length",
    ContentPolicyViolation: "content_policy",
    ProviderBadRequest: "bad_request",
    ProviderRequestTooLarge: "bad_request",
}
"""Errors of a provider that are about the request: another target is asked only where the route says so."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Context windows in tokens: of the target that failed, and of a candidate to come after it. None: unknown."""

    failed: int | None = None
    candidate: int | None = None

    @property
    def candidate_is_larger(self) -> bool:
        """Is it known to be?"""
        return self.failed is not None and self.candidate is not None and self.candidate > self.failed


def worth_another_target(error: Exception, policy: Policy, windows: Windows | None = None) -> bool:
    """May this candidate be asked after this error of the one before? Whoever may not is passed over.

    Our errors say so by class; what a foreign provider raises is always worth another target. A prompt that was too
    long goes only to a window that is known to be larger: any other would refuse it too, at the price of a call.
    """
    if not isinstance(error, WaypostError) or error.fallback:
        return True
    named = next((FALLBACK_CLASSES[kind] for kind in type(error).__mro__ if kind in FALLBACK_CLASSES), None)
    if named not in policy.fall_back_on:
        return False
    return not isinstance(error, ContextLengthExceeded) or (windows is not None and windows.candidate_is_larger)
