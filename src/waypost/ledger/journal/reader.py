"""Reads what processes have written, from where the last reading ended, as far as it is sound.

What is no frame at the end of a file that is still written to is left for the next time; anywhere else it is a gap,
which is copied to the folder's quarantine before the reading goes on behind it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from waypost.ledger.journal.encoding import UnreadableRecord, decode
from waypost.ledger.journal.frames import (
    FRAME_BYTES,
    HEADER_BYTES,
    VERSION,
    Scan,
    is_cut_short,
    mark_of,
    scan,
    version_in,
)
from waypost.ledger.journal.names import QUARANTINE
from waypost.ledger.records import Record

CHUNK_BYTES: Final = 2 * 1024 * 1024
PAUSE_RECORDS: Final = 100
"""After so many records others get a turn."""
GapKind: TypeAlias = Literal["damaged", "cut short", "unreadable", "refused"]
"""cut short: its process died while writing it; unreadable: whole, but no record of this version; refused: the
database will not take it."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes of a file that became no row. They are in the quarantine."""

    name: str
    start: int
    end: int
    kind: GapKind


@dataclass(slots=True)
class Slice:
    """Records of one file, and where in it they begin and end. `is_last`: the file has no more, and gets no more."""

    name: str
    start: int
    end: int
    records: list[Record] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    """Where each record's frame begins and ends, in the file."""
    gaps: list[Gap] = field(default_factory=list)
    is_last: bool = False
    is_behind: bool = False
    """There is more in the file than was read."""
    is_foreign: bool = False
    """A newer version wrote it, and must read it."""


def read(path: Path, offset: int, *, limit: int, is_final: bool, pause: Callable[[], None] = lambda: None) -> Slice:
    """Up to `limit` records from `offset` on. `is_final`: nothing more will be written to the file.

    Raises OSError, also where a gap cannot be copied: then nothing has been read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        mark = mark_of(path.name)
        beginning = file.read(HEADER_BYTES)
        found = Slice(path.name, offset, offset)
        version = version_in(beginning, path.name)
        found.is_foreign = version is not None and version > VERSION
        if found.is_foreign:
            return found
        if offset == 0 and version is not None:
            offset = found.end = HEADER_BYTES
        length = CHUNK_BYTES
        while True:
            file.seek(offset)
            data = file.read(min(length, size - offset)) if size > offset else b""
            reaches_end = offset + len(data) >= size
            scanned = _scan(data, mark, limit, pause)
            if scanned.frames or reaches_end:
                break
            length *= 4
    _take(found, path.parent, data, offset, scanned, pause)
    rest = data[scanned.consumed :]
    if is_final and reaches_end and len(scanned.frames) < limit:
        if rest:
            kind: GapKind = "cut short" if is_cut_short(rest, mark) else "damaged"
            found.gaps.append(Gap(path.name, found.end, size, kind))
            _copy(path.parent, found.gaps[-1], rest)
            found.end = size
        found.is_last = True
    found.is_behind = found.end < size
    return found


def set_aside(path: Path, start: int, end: int) -> Gap:
    """Copy a record that the database will not take to the quarantine. Raises OSError."""
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(end - start)
    gap = Gap(path.name, start, end, "refused")
    _copy(path.parent, gap, data)
    return gap


def _scan(data: bytes, mark: bytes, limit: int, pause: Callable[[], None]) -> Scan:
    found, before = Scan(), -1
    while before < len(found.frames) < limit:
        before = len(found.frames)
        scan(data, mark, found, limit=min(limit, before + PAUSE_RECORDS))
        pause()
    return found


def _take(found: Slice, folder: Path, data: bytes, offset: int, scanned: Scan, pause: Callable[[], None]) -> None:
    view = memoryview(data)
    gaps = [Gap(found.name, offset + start, offset + end, "damaged") for start, end in scanned.gaps]
    for number, (start, end) in enumerate(scanned.frames):
        try:
            found.records.append(decode(view[start:end]))
        except UnreadableRecord:
            gaps.append(Gap(found.name, offset + start - FRAME_BYTES, offset + end, "unreadable"))
        else:
            found.spans.append((offset + start - FRAME_BYTES, offset + end))
        if number % PAUSE_RECORDS == PAUSE_RECORDS - 1:
            pause()
    found.end = offset + scanned.consumed
    for gap in sorted(gaps, key=lambda each: each.start):
        _copy(folder, gap, data[gap.start - offset : gap.end - offset])
        found.gaps.append(gap)


def _copy(folder: Path, gap: Gap, data: bytes) -> None:
    """Under a name that is the same if it is read once more."""
    quarantine = folder / QUARANTINE
    quarantine.mkdir(mode=0o700, exist_ok=True)
    file = quarantine / f"{gap.name}.{gap.start}-{gap.end}"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o600)
    with os.fdopen(descriptor, "wb") as copy:
        copy.write(data)
