"""To whose accounts a cost goes, and for which time: the keys of the table `spend`. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TypeAlias

from waypost.ledger.subjects import key_subject, project_subject, user_subject

Spend: TypeAlias = dict[tuple[str, str], int]
"""Micro-dollars by subject and window."""
DAY_MS: Final = 86_400_000


def day_of(at_ms: int) -> int:
    """Days since 1970, in UTC."""
    return at_ms // DAY_MS


@lru_cache(maxsize=256)
def windows(day: int) -> tuple[str, str]:
    """A day since 1970 (2026-11-26) and its month (2026-11), as the table calls them."""
    text = datetime.fromtimestamp(day * (DAY_MS // 1000), UTC).date().isoformat()
    return text, text[:7]


@lru_cache(maxsize=4096)
def charged(day: int, project_id: str | None, key_id: str | None, end_user: str | None) -> tuple[tuple[str, str], ...]:
    """The subjects and windows that a cost of that day counts in."""
    subjects = [key_subject(key_id)] if key_id else []
    if project_id:
        subjects.append(project_subject(project_id))
        if end_user:
            subjects.append(user_subject(project_id, end_user))
    return tuple((subject, window) for subject in subjects for window in windows(day))
