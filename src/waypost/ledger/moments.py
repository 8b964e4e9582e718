"""Times as people write them: `2026-11-26`, `2026-11-26T09:30Z`, or how long ago, as in `90m`, `24h` and `7d`. UTC."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from waypost.ledger.definitions import UnusableField

DAY_MS: Final = 24 * 60 * 60 * 1000
_UNITS_MS: Final[Mapping[str, int]] = {"m": 60_000, "h": 3_600_000, "d": DAY_MS, "w": 7 * DAY_MS}
_AGO: Final = re.compile(r"([0-9]{1,6})([mhdw])")
HINT: Final = "Write a day (2026-11-26), a time (2026-11-26T09:30Z) or how long ago (90m, 24h, 7d, 2w)."


def moment_ms(text: str, now_ms: int, *, param: str | None = None) -> int:
    """Unix milliseconds. A day begins when it does in UTC; a time must name its zone. Raises UnusableField."""
    ago = _AGO.fullmatch(text)
    if ago:
        return max(0, now_ms - int(ago[1]) * _UNITS_MS[ago[2]])
    try:
        moment = datetime.fromisoformat(f"{text}T00:00Z" if len(text) == len("2026-11-26") else text)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError, TypeError):
        shown = text[:40] if text.isprintable() else "…"
        raise UnusableField(f'"{shown}" is no time.', hint=HINT, param=param) from None
    if since.days < 0:
        raise UnusableField("The time is before 1970.", hint=HINT, param=param)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def day_of(at_ms: int) -> str:
    """The UTC day, as `2026-11-26`."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d")
