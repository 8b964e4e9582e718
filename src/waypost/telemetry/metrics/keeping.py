"""What one of several processes has counted, kept in a file, so that its successor goes on from there.

The sum over processes must not fall when one of them ends: whoever takes rates would see all that was counted once
more. So whatever is told was written down before, and a process that is away is told of by its file.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from waypost.telemetry.metrics.numbers import Snapshot, counted_only, together


class Kept:
    """One process's file. Blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = kept_in(path)
        """By those who had this place before."""

    def told(self, own: Snapshot) -> Snapshot:
        """What this process and those before it counted, written down. Raises OSError if that does not go."""
        snapshot = together((own, self._before))
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(counted_only(snapshot)))
        temporary.replace(self._path)
        return snapshot


def beside(address: Path) -> Path:
    """The file of the process that tells its numbers at this socket."""
    return address.with_suffix(".metrics")


def kept_in(path: Path) -> Snapshot:
    """What was written down last; nothing if there is no such file."""
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=Snapshot)
    return Snapshot()
