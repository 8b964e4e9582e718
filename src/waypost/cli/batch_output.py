"""Where `waypost batch run` writes: one line of JSON an item, in the order of the input, each written once.

The file is its owner's: what is in it stays, but for a last line that was cut off by a crash. The invariant: the lines
of a batch are those of its first items without a gap, so that how many there are says where to go on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from waypost.errors import RequestError
from waypost.jobs.batch import item_id
from waypost.jobs.batch_told import BEGINNING, result_line
from waypost.jobs.job import Job


class OutputTaken(RequestError):
    """The file is somebody else's, or another batch's."""


class _Known(msgspec.Struct):
    index: int
    job_id: str


class ResultFile:
    """A file that one run writes to, from `open` to `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def open(self) -> None:
        """Make it if it is not there, and keep others from writing. Raises OutputTaken."""
        # Windows has none.
        import fcntl

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputTaken(f"Another run writes to {self.path}.", hint="Wait for its end.") from None
        except OSError as error:
            raise OutputTaken(f"{self.path} cannot be written: {error.strerror}.") from error

    def clear(self) -> None:
        """Take out all that is in it."""
        os.ftruncate(self._file, 0)

    def written(self, batch_id: str) -> int:
        """How many of the batch's items are in it; a line that was cut off is taken out.

        Raises OutputTaken if there are results of another batch.
        """
        count = 0
        for line in self._lines():
            known = _known(line)
            if known is None:
                continue
            if known.index != count or known.job_id != item_id(batch_id, count):
                raise OutputTaken(
                    f"{self.path} has results of another batch, or not in their order.",
                    hint="Name another file, or begin anew with --restart, which replaces them.",
                )
            count += 1
        return count

    def write(self, jobs: Sequence[Job]) -> None:
        """Add a line for each."""
        data = memoryview(b"".join(result_line(job) for job in jobs))
        while data:
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Let others write. What was written is on the disk."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def _file(self) -> int:
        if self._descriptor is None:
            raise TypeError("the file is not open")
        return self._descriptor

    def _lines(self) -> Iterator[bytes]:
        """Whole lines. The last is mended if it has no end."""
        end, tail = 0, b""
        with self.path.open("rb") as stream:
            for line in stream:
                if line.endswith(b"\n"):
                    end += len(line)
                    yield line
                else:
                    tail = line
        if tail.startswith(BEGINNING) or BEGINNING.startswith(tail):
            os.ftruncate(self._file, end)
        else:
            os.write(self._file, b"\n")


class ResultStream:
    """Standard output, or the like: nothing of it is known later."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, jobs: Sequence[Job]) -> None:
        """Add a line for each."""
        data = memoryview(b"".join(result_line(job) for job in jobs))
        while data:
            data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        """It is not ours."""


def _known(line: bytes) -> _Known | None:
    """What a line of ours says; None: it is none."""
    if not line.startswith(BEGINNING):
        return None
    try:
        return msgspec.json.decode(line, type=_Known)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
