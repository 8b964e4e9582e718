"""Where to look for a tag: the ten minutes in which some request had it, a few bytes each.

An index of every tag of every request would be larger than the log. The invariant: a request's slots are written in the
transaction that writes its row, so that a slot that is missing has no such request; one that is there may have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

from sqlalchemy import Insert

from waypost.store.database import Database
from waypost.store.tables import tag_slots

SLOT_MS: Final = 10 * 60 * 1000


def tag_hash(name: str, value: str) -> int:
    """64 bits that stand for the tag, signed as a database's integers are."""
    return int.from_bytes(sha256(f"{name}={value}".encode()).digest()[:8], "big", signed=True)


def slots_of(tagged: Iterable[tuple[int, Mapping[str, str] | None]]) -> list[dict[str, int]]:
    """The rows of tag_slots for requests: (started_at_ms, tags) of each. Sorted, so that no two writers clash."""
    found = {
        (tag_hash(name, value), started_at_ms // SLOT_MS)
        for started_at_ms, tags in tagged
        for name, value in (tags or {}).items()
    }
    return [{"tag": tag, "slot": slot} for tag, slot in sorted(found)]


def note_slot(database: Database) -> Insert:
    """The statement that writes one of them down, unless it is there."""
    statement: Insert = database.upsert(tag_slots).on_conflict_do_nothing()
    return statement
