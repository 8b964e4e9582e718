"""How hard a route tries, as a value. The numbers here are the defaults for every route."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """One budget of attempts and one deadline hold for the whole request, over retries and fallbacks.

    Times are in seconds. `max_attempts` counts every call made; `max_retries` are those of one target after its
    first. `first_token_s` bounds the wait for content of a streamed attempt, except of the last target, which keeps
    the total deadline; None is no limit. `slow_first_token_s` takes its place where a model thinks first or runs on
    this machine. `retry_after_limit_s` is the longest wait a provider may ask for.
    """

    max_attempts: int = 4
    max_retries: int = 1
    total_s: float | None = 600.0
    first_token_s: float | None = 10.0
    slow_first_token_s: float | None = 120.0
    backoff_first_s: float = 0.5
    backoff_limit_s: float = 8.0
    retry_after_limit_s: float = 10.0


NO_RETRIES = Policy(max_attempts=1_000, max_retries=0, total_s=None, first_token_s=None, slow_first_token_s=None)
"""Each candidate once, with no limits but the providers' own."""
