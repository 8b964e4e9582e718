"""Minutes, days and months of UTC, each with what was used in it. Arithmetic only.

Windows are fixed: a limit per minute begins anew with the minute of the clock, a budget with the day or the month.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import floor, inf
from typing import Any, Final, Literal, TypeAlias

Span: TypeAlias = Literal["minute", "day", "month", "always"]
"""always: what is not counted by time, such as the requests under way."""
MINUTE_S: Final = 60
DAY_S: Final = 86_400
KEPT_S: Final = 120.0
"""How long a window is remembered after its end: a clock may be set back a little."""
ALWAYS: Final = "always"


class Window:
    """One minute, day or month. `name` is how the database calls it; times are in Unix seconds."""

    __slots__ = ("ends_at_s", "name", "pools", "span", "starts_at_s")

    def __init__(self, span: Span, name: str, starts_at_s: float, ends_at_s: float) -> None:
        self.span = span
        self.name = name
        self.starts_at_s = starts_at_s
        self.ends_at_s = ends_at_s
        self.pools: dict[tuple[str, str], Any] = {}
        """What is counted in it, by unit and subject."""

    @property
    def resets_at_s(self) -> float | None:
        """When all of it may be used again; None: it is not counted by time."""
        return None if self.ends_at_s == inf else self.ends_at_s


def window_at(span: Span, at_s: float) -> Window:
    """The window that holds this moment, with nothing used."""
    if span == "always":
        return Window(span, ALWAYS, -inf, inf)
    if span == "month":
        # It rounds parts of a second, up to the next day too.
        day = datetime.fromtimestamp(floor(at_s), UTC)
        starts = datetime(day.year, day.month, 1, tzinfo=UTC)
        ends = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
        return Window(span, f"{starts:%Y-%m}", starts.timestamp(), ends.timestamp())
    # Unix time has no leap seconds: its days and minutes are all alike.
    length_s, pattern = (DAY_S, "%Y-%m-%d") if span == "day" else (MINUTE_S, "%Y-%m-%dT%H:%M")
    starts_at_s = at_s // length_s * length_s
    return Window(span, datetime.fromtimestamp(starts_at_s, UTC).strftime(pattern), starts_at_s, starts_at_s + length_s)


class Windows:
    """All windows in which something is counted."""

    def __init__(self) -> None:
        self._latest: dict[Span, Window] = {}
        self._kept: dict[str, Window] = {}

    def at(self, span: Span, at_s: float) -> Window:
        """The window that holds this moment."""
        latest = self._latest.get(span)
        if latest is not None and latest.starts_at_s <= at_s < latest.ends_at_s:
            return latest
        found = window_at(span, at_s)
        found = self._kept.setdefault(found.name, found)
        self._latest[span] = found
        return found

    def __iter__(self) -> Iterator[Window]:
        return iter(tuple(self._kept.values()))

    def drop_ended(self, now_s: float) -> None:
        """Forget those that have been over for some time. Who still uses something of them goes on with it."""
        for window in self:
            if window.ends_at_s + KEPT_S <= now_s:
                del self._kept[window.name]
                if self._latest.get(window.span) is window:
                    del self._latest[window.span]
