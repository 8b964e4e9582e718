"""The file that a batch at a provider is made of: on the disk, since it may be of hundreds of megabytes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from waypost.providers.batch_api import BatchApi

PIECE_BYTES: Final = 256 * 1024
ROWS: Final = 50
"""Requests that are in memory at a time."""


class BatchFile:
    """Implements Entries. `close` it: then the file is gone, as it is when the process dies."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Closed by whoever made it.
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self.size_bytes = 0
        self.requests = 0

    def write(self, api: BatchApi, calls: Iterator[tuple[str, bytes]]) -> None:
        """All of it: custom ids with their requests. Blocks."""
        framing = api.framing
        self._put(framing.before)
        for custom_id, body in calls:
            self._put((framing.between if self.requests else b"") + api.entry(custom_id, body))
            self.requests += 1
        self._put(framing.after)
        self._file.flush()

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self.size_bytes += len(data)

    async def chunks(self) -> AsyncIterator[bytes]:
        """See Entries."""
        self._file.seek(0)
        while piece := await asyncio.to_thread(self._file.read, PIECE_BYTES):
            yield piece

    def close(self) -> None:
        """It is gone."""
        self._file.close()


def in_slices(next_after: Callable[[str], Sequence[tuple[str, bytes]]]) -> Iterator[tuple[str, bytes]]:
    """Calls by job, read slice after slice."""
    last = ""
    while found := next_after(last):
        yield from found
        last = found[-1][0]
