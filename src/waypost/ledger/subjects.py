"""Whose money is counted, and for which time: the names of subjects and windows in the table `spend`. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

Spend: TypeAlias = dict[tuple[str, str], int]
"""Micro-dollars by subject and window."""
_LONGEST_SUBJECT: Final = 200
DAY_MS: Final = 86_400_000


def day_of(at_ms: int) -> int:
    """Days since 1970, in UTC."""
    return at_ms // DAY_MS


def windows(at_ms: int) -> tuple[str, str]:
    """The day (2026-11-26) and the month (2026-11) of a moment, in UTC."""
    return _windows(day_of(at_ms))


@lru_cache(maxsize=256)
def _windows(day: int) -> tuple[str, str]:
    text = datetime.fromtimestamp(day * (DAY_MS // 1000), UTC).date().isoformat()
    return text, text[:7]


@lru_cache(maxsize=4096)
def charged(day: int, project_id: str | None, key_id: str | None, end_user: str | None) -> tuple[tuple[str, str], ...]:
    """The subjects and windows that a cost of that day counts in; `day` is in days since 1970."""
    return tuple((subject, window) for subject in _subjects(project_id, key_id, end_user) for window in _windows(day))


def _subjects(project_id: str | None, key_id: str | None, end_user: str | None) -> Iterator[str]:
    """Whose budgets a cost is charged to."""
    if key_id:
        yield f"key:{key_id}"
    if project_id:
        yield f"project:{project_id}"
        if end_user:
            yield user_subject(project_id, end_user)


def user_subject(project_id: str, end_user: str) -> str:
    """An end user of a project. One with too long a name is known by its hash, so that no two are one."""
    subject = f"user:{project_id}:{end_user}".replace("\0", "\N{REPLACEMENT CHARACTER}")
    if len(subject) <= _LONGEST_SUBJECT:
        return subject
    digest = sha256(end_user.encode("utf-8", "replace")).hexdigest()
    return f"user:{project_id}:{digest}"[:_LONGEST_SUBJECT]
