"""What the files of a journal folder are called, and what is in the folder now.

    <holder>.lock                 locked by its process as long as that lives
    <holder>.<number>.journal     a segment; only the last one of a living process is still written to
    <holder>.next                 its next segment, made in advance: it holds nothing yet
    <holder>.<number>.journal.done   all of it is in the database: about to be removed
    drainer.lock, drained         of the process that drains
    drainer.wanted                touched by one that would, for one that only stands in to give way
    quarantine/                   what could not be read

A holder is one process: the time it began, in hexadecimal milliseconds, and sixty-four random bits.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from waypost.ledger.journal.frames import HEADER_BYTES

DRAINER_LOCK: Final = "drainer.lock"
WANTED: Final = "drainer.wanted"
DRAINED: Final = "drained"
QUARANTINE: Final = "quarantine"
DONE: Final = ".done"
_NAME: Final = re.compile(
    r"(?P<holder>[0-9a-f]{12}-[0-9a-f]{16})\.(?:(?P<lock>lock)|next|[0-9]{8}\.journal(?P<done>\.done)?)"
)


def new_holder() -> str:
    """A name for this process that no other one ever had."""
    return f"{time.time_ns() // 1_000_000:012x}-{os.urandom(8).hex()}"


def began_at_ms(holder: str) -> int:
    """When the process of this name began to write."""
    return int(holder.partition("-")[0], 16)


def segment_name(holder: str, number: int) -> str:
    """The file's name; those of one process sort by number."""
    return f"{holder}.{number:08d}.journal"


def spare_name(holder: str) -> str:
    """The next segment, before it has its name."""
    return f"{holder}.next"


def lock_name(holder: str) -> str:
    """The file that is locked while the process lives."""
    return f"{holder}.lock"


@dataclass(slots=True)
class Segments:
    """One process's files, the oldest segment first. `unbegun` ones have no header yet, and hold nothing."""

    sizes: dict[str, int] = field(default_factory=dict)
    locked_at_s: float | None = None
    """When its lock file was made; None: there is none."""
    unbegun: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Listing:
    """The folder at a glance, the holder that began first first."""

    holders: dict[str, Segments] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)


def listing(folder: Path) -> Listing:
    """What is there now. A file that goes away meanwhile is not in it. Raises OSError."""
    found = Listing()
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            parts = _NAME.fullmatch(entry.name)
            if parts is None:
                continue
            if parts["done"]:
                found.done.append(entry.name)
                continue
            segments = found.holders.setdefault(parts["holder"], Segments())
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if parts["lock"]:
                segments.locked_at_s = status.st_mtime
            elif status.st_size < HEADER_BYTES:
                segments.unbegun.append(entry.name)
            else:
                segments.sizes[entry.name] = status.st_size
    return found
