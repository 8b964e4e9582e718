"""What providers' replies have in common whatever their wire format: the wait they ask for, and text quoted in errors.

No format's own fields are read here. The invariant: any headers and any bytes give a value, never an exception.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

LONGEST_WAIT_S = 7 * 24 * 3600.0
"""A longer wait than this is taken as this: no caller plans beyond it, and it keeps arithmetic on it safe."""


_SECRET = re.compile(r"\b(sk-|gsk_|xai-|AIza|Bearer )[\w*./+=-]{6,}")


def retry_after_s(headers: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> float | None:
    """Seconds the provider asks to wait, None if it does not say. Header names: lower-case.

    `retry-after-ms` is more exact and wins over `retry-after`, which is in seconds or an HTTP date; a date gone
    by is 0. `clock` gives the present in Unix seconds. Source: RFC 9110, 10.2.3 (Retry-After).
    """
    exact_ms = _number(headers.get("retry-after-ms", ""))
    if exact_ms is not None:
        return min(exact_ms / 1000, LONGEST_WAIT_S)
    value = headers.get("retry-after", "").strip()
    seconds = _number(value)
    if seconds is None:
        seconds = _seconds_until(value, clock)
    return None if seconds is None else min(seconds, LONGEST_WAIT_S)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _seconds_until(date: str, clock: Callable[[], float]) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - clock())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def excerpt(text: str | bytes, limit: int = 500) -> str:
    """The text on one line, without control characters, cut to `limit` characters with an ellipsis as the last.

    Bytes that are not UTF-8, and lone surrogates, become U+FFFD. What looks like a key is masked, since providers
    quote a refused key in their errors.
    """
    # A character is at most four bytes; white space that is folded away may need more, so some more is read.
    head = text[: 8 * limit]
    decoded = head.decode(errors="replace") if isinstance(head, bytes) else head
    line = " ".join(decoded.split())
    clean = _SECRET.sub(r"\1***", "".join(letter if letter.isprintable() else "\ufffd" for letter in line))
    if len(clean) <= limit and len(head) == len(text):
        return clean
    return clean[: limit - 1].rstrip() + "…"
