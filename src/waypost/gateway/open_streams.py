"""How many answers are being streamed now. Counts only; what becomes of them is in their records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class OpenStreams:
    """How many answers are being streamed, over reloads too."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """One more, inside the block."""
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
