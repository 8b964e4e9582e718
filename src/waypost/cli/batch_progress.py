"""How far a batch is: one line that changes on a terminal, a line now and then elsewhere; on standard error."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import IO, Any, Final

from waypost.jobs.batch import Counts

BAR: Final = 20
"""Characters."""
SHOW_S: Final = 0.2
TELL_S: Final = 15.0
RATE_OVER_S: Final = 30.0
"""The rate is that of so long."""


class BatchProgress:
    """Shows counts as they come. `clock` is in seconds."""

    def __init__(self, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._clock = clock
        self._shown_s = float("-inf")
        self._seen: deque[tuple[float, int]] = deque()
        self._is_open = False

    def show(self, counts: Counts, total: int | None, read: int) -> None:
        """So it stands. `total` None: the input has not been read to its end; `read` items have been."""
        now_s = self._clock()
        self._seen.append((now_s, counts.ended))
        while now_s - self._seen[0][0] > RATE_OVER_S and len(self._seen) > 2:
            self._seen.popleft()
        if now_s - self._shown_s < (SHOW_S if self._is_terminal else TELL_S):
            return
        self._shown_s = now_s
        self._write(line(counts, total, read, self._rate()))

    def note(self, text: str) -> None:
        """A line of its own."""
        self.end()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def end(self) -> None:
        """What comes next begins on a new line."""
        if self._is_open:
            self._stream.write("\n")
            self._stream.flush()
            self._is_open = False

    def _rate(self) -> float | None:
        """Items a second."""
        (began_s, began), (now_s, now) = self._seen[0], self._seen[-1]
        return (now - began) / (now_s - began_s) if now_s > began_s else None

    def _write(self, text: str) -> None:
        if self._is_terminal:
            width = max(20, shutil.get_terminal_size().columns - 1)
            self._stream.write(f"\r{text[:width]}\x1b[K")
            self._is_open = True
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()


def line(counts: Counts, total: int | None, read: int, rate: float | None) -> str:
    """How it stands, in one line: done, failed, rate, cost so far, time left."""
    known = total if total is not None else read
    parts = [f"{counts.ended:,} of {known:,}{'' if total is not None else '+'}", f"{counts.failed:,} failed"]
    if counts.waiting:
        parts.append(f"{counts.waiting:,} at the provider")
    if rate is not None:
        parts.append(f"{rate:.1f}/s" if rate < 100 else f"{rate:,.0f}/s")
    parts.append(cost_text(counts))
    if total is not None and rate:
        parts.append(f"{duration_text((total - counts.ended) / rate)} left")
    filled = 0 if not known else min(BAR, BAR * counts.ended // known)
    return f"[{'#' * filled}{'-' * (BAR - filled)}] {' · '.join(parts)}"


def cost_text(counts: Counts) -> str:
    """What it came to so far, in dollars."""
    about = "about " if counts.cost_is_estimate else ""
    unknown = f" and {counts.unpriced:,} without a price" if counts.unpriced else ""
    return f"{about}${counts.cost_micro_usd / 1e6:,.4f}{unknown}"


def duration_text(seconds: float) -> str:
    """`1:02:03`, or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def told_counts(counts: Counts) -> dict[str, Any]:
    """The counts, for programs."""
    return {
        "total": counts.all,
        **counts.told,
        "cost_usd": counts.cost_micro_usd / 1e6,
        "cost_is_estimate": counts.cost_is_estimate,
        "without_price": counts.unpriced,
    }
