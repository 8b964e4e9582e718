"""When a message is tried again. Pure: the time and the random source are arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

State: TypeAlias = Literal["pending", "delivered", "failed", "gone"]

BACKOFF_S: Final = (5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200)
"""The longest wait before each further try."""
MOST_ATTEMPTS: Final = len(BACKOFF_S) + 1
RETRY_AFTER_LIMIT_S: Final = 43_200.0
"""A receiver may ask for so long a wait."""
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Following:
    """What becomes of a message after a try. `next_attempt_at_ms` is Unix ms; None: it is not tried again."""

    state: State
    next_attempt_at_ms: int | None = None


def following(
    attempt: int,
    status: int | None,
    now_ms: int,
    random: Callable[[], float],
    *,
    retry_after_s: float | None = None,
) -> Following:
    """What follows on try number `attempt` (the first is 1), which ended with this HTTP status; None: without any.

    2xx has arrived, 410 wants no more, all else is tried again until the table is used up. `random` gives numbers from
    0 to below 1. Source: RFC 9110, 10.2.3 (Retry-After), 15.5.11 (410).
    """
    if status is not None and 200 <= status < 300:
        return Following("delivered")
    if status == _GONE:
        return Following("gone")
    if attempt >= MOST_ATTEMPTS:
        return Following("failed")
    return Following("pending", now_ms + round(wait_s(attempt, random, retry_after_s) * 1000))


def wait_s(attempt: int, random: Callable[[], float], retry_after_s: float | None = None) -> float:
    """Seconds before the try after number `attempt`: full jitter, and never less than the receiver asks for in reason.

    Raises ValueError if there is no such try.
    """
    if not 1 <= attempt < MOST_ATTEMPTS:
        raise ValueError(f"no try follows on number {attempt}")
    return max(random() * BACKOFF_S[attempt - 1], min(retry_after_s or 0.0, RETRY_AFTER_LIMIT_S))
