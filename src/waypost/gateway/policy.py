"""How hard a route tries, as a value. The numbers here are the defaults for every route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
    fall_back_on: tuple[Literal["context_length", "content_policy", "bad_request"], ...] = ("context_length",)
    hedge_after_s: float | None = None
    hedge_max_cost_usd: float | None = None
    recover: bool = True
    recover_buffer_bytes: int = 256 * 1024
    recover_through_user_turn: bool = False
    unsupported: Literal["reject", "warn", "drop"] = "warn"


NO_RETRIES = Policy(max_attempts=1_000, max_retries=0, total_s=None, first_token_s=None, slow_first_token_s=None)
"""Each candidate once, with no limits but the providers' own."""
