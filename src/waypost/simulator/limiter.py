"""The provider's rate limits, kept strictly: within any minute no more than so many requests and tokens a key.

What is refused counts for nothing. The invariant: `most_requests` and `most_tokens` are what came within one minute at
most, whether it was over the limit or not, so that a test can tell that nobody ever asked for too much.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

WINDOW_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What one key may ask for within a minute. None: no limit. Tokens are those of prompt and largest answer."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class SeenPace:
    """How fast one key was used: in all, and within one minute at most."""

    key_hash: str
    requests: int
    refused: int
    most_requests: int
    most_tokens: int


@dataclass(slots=True)
class _Key:
    taken: deque[tuple[float, int]] = field(default_factory=deque)
    tokens: int = 0
    requests: int = 0
    refused: int = 0
    most_requests: int = 0
    most_tokens: int = 0


class Limiter:
    """Counts by key. `clock` gives seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys: dict[str, _Key] = {}
        self._clock = clock

    @property
    def seen(self) -> list[SeenPace]:
        """What is known of each key."""
        return [
            SeenPace(name, key.requests, key.refused, key.most_requests, key.most_tokens)
            for name, key in self._keys.items()
        ]

    def wait_s(self, key_hash: str, tokens: int, limits: RateLimits) -> float | None:
        """None: the request is let in. Else it is refused, and so long would have to be waited."""
        key, now_s = self._keys.setdefault(key_hash, _Key()), self._clock()
        while key.taken and key.taken[0][0] <= now_s - WINDOW_S:
            key.tokens -= key.taken.popleft()[1]
        key.most_requests = max(key.most_requests, len(key.taken) + 1)
        key.most_tokens = max(key.most_tokens, key.tokens + tokens)
        if _is_over(len(key.taken) + 1, limits.requests_per_minute) or (
            _is_over(key.tokens + tokens, limits.tokens_per_minute)
        ):
            key.refused += 1
            return key.taken[0][0] + WINDOW_S - now_s if key.taken else WINDOW_S
        key.taken.append((now_s, tokens))
        key.tokens += tokens
        key.requests += 1
        return None

    def clear(self) -> None:
        """Forget what was asked."""
        self._keys.clear()


def _is_over(count: int, limit: int | None) -> bool:
    return limit is not None and count > limit
