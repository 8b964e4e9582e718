"""A key's limits per minute in the headers of every reply, as each dialect's clients read them.

A provider's own limits are nothing to a caller who has limits here: they are taken out. Source: the guides to rate
limits of OpenAI and of Anthropic; Google tells none in headers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias

from waypost.ledger.allowances import Rate, RateLimits

PROVIDERS_OWN: Final = (b"x-ratelimit-", b"anthropic-ratelimit-")
"""How the names of such headers begin."""
LimitHeaders: TypeAlias = Callable[[RateLimits, float], Mapping[str, str]]
"""The headers for these limits, at a moment in Unix seconds."""
Headers: TypeAlias = list[tuple[bytes, bytes]]


def no_limit_headers(_limits: RateLimits, _now_s: float) -> Mapping[str, str]:
    """Those of a dialect that has none."""
    return {}


def openai_limit_headers(limits: RateLimits, now_s: float) -> Mapping[str, str]:
    """The wait until reset is a duration such as `1m2s`."""
    return {
        name: value
        for what, rate in _told(limits)
        for name, value in (
            (f"x-ratelimit-limit-{what}", str(rate.limit)),
            (f"x-ratelimit-remaining-{what}", str(rate.left)),
            (f"x-ratelimit-reset-{what}", duration_text(rate.resets_at_s - now_s)),
        )
    }


def anthropic_limit_headers(limits: RateLimits, _now_s: float) -> Mapping[str, str]:
    """The moment of reset is in RFC 3339."""
    return {
        f"anthropic-ratelimit-{what}-{name}": value
        for what, rate in _told(limits)
        for name, value in (
            ("limit", str(rate.limit)),
            ("remaining", str(rate.left)),
            ("reset", datetime.fromtimestamp(rate.resets_at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
        )
    }


def duration_text(wait_s: float) -> str:
    """Whole seconds, rounded up, as Go writes durations: `0s`, `42s`, `1m0s`."""
    minutes, seconds = divmod(max(0, math.ceil(wait_s)), 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def with_limits(headers: Headers, limits: RateLimits, told_by: LimitHeaders) -> Headers:
    """A reply's headers with the caller's limits in place of any provider's."""
    own = told_by(limits, time.time())
    kept = [header for header in headers if not header[0].lower().startswith(PROVIDERS_OWN)]
    return [*kept, *((name.encode(), value.encode()) for name, value in own.items())]


def _told(limits: RateLimits) -> list[tuple[str, Rate]]:
    rates = (("requests", limits.requests), ("tokens", limits.tokens))
    return [(what, rate) for what, rate in rates if rate is not None]
