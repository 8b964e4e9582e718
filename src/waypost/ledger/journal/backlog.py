"""How much of a journal folder is not in the database yet: by the files' sizes, and what the drainer leaves word of.

The drainer writes down how far each file is in the database, in a file of the folder, so that every process knows how
large the backlog is while no database can be asked. The file's time says when nothing had been left over.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from waypost.ledger.journal.frames import HEADER_BYTES
from waypost.ledger.journal.names import DRAINED, began_at_ms, listing

_decode: Final = msgspec.json.Decoder(dict[str, int]).decode


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is not in the database yet, and since when that may be (Unix milliseconds; None: there is nothing)."""

    size_bytes: int = 0
    since_ms: int | None = None
    drained: frozenset[str] = frozenset()
    """Segments of which nothing is left over."""


def leave_word(folder: Path, offsets: Mapping[str, int], complete_at_s: float) -> None:
    """Say how far each file is in the database, and when nothing was left over. Raises OSError."""
    temporary = folder / f"{DRAINED}.new"
    temporary.write_bytes(msgspec.json.encode(offsets))
    os.utime(temporary, (complete_at_s, complete_at_s))
    temporary.replace(folder / DRAINED)


def renew_word(folder: Path, complete_at_s: float) -> None:
    """Say that still nothing is left over. Raises OSError."""
    os.utime(folder / DRAINED, (complete_at_s, complete_at_s))


def word_of(folder: Path) -> tuple[dict[str, int], float | None]:
    """How far each file is in the database, and when nothing was left over (Unix seconds; None: never)."""
    path = folder / DRAINED
    with contextlib.suppress(OSError, msgspec.DecodeError), path.open("rb") as file:
        return _decode(file.read()), os.fstat(file.fileno()).st_mtime
    return {}, None


def measure(folder: Path) -> Backlog:
    """The backlog of all processes that share the folder. Raises OSError."""
    offsets, complete_at_s = word_of(folder)
    waiting: list[str] = []
    drained: list[str] = []
    size_bytes = 0
    for holder, segments in listing(folder).holders.items():
        for name, size in segments.sizes.items():
            left = size - max(offsets.get(name, 0), HEADER_BYTES)
            if left > 0:
                waiting.append(holder)
                size_bytes += left
            else:
                drained.append(name)
    since_ms = None
    if waiting:
        began_ms = min(began_at_ms(holder) for holder in waiting)
        since_ms = began_ms if complete_at_s is None else max(began_ms, int(complete_at_s * 1000))
    return Backlog(size_bytes, since_ms, frozenset(drained))
