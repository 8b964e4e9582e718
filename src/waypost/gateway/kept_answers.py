"""The memory behind idempotency: each key's answer while it is recorded, kept, or gone with only the key left.

It weighs what it holds and makes room; what may be told to whom is `idempotency`'s. The invariant: `size_bytes` is the
sum over all entries and, but for the bare entries of running requests, never over the bound.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from waypost.errors import WaypostError
from waypost.gateway.bell import Bell
from waypost.ledger.durable_answers import Fate, Headers

Slot: TypeAlias = tuple[str, str, str]
"""Tenant, path, key."""

RETRIABLE: Final = frozenset({401, 403, 404, 408, 409, 425, 429})
"""Statuses that the same request may not get next time, because keys, routes, limits or other requests change."""
_ENTRY_BYTES: Final = 512
"""What an entry weighs without its answer, roughly."""
_CHUNK_BYTES: Final = 96
"""What a chunk weighs besides its bytes, roughly: streams have many small ones."""
_SHARE_OF_BARE_KEYS: Final = 4
"""Keys without their answers may fill this part of the memory, a quarter; then the oldest are forgotten."""


class Chunk(NamedTuple):
    """One piece of the body, and how long after the request began it came."""

    data: bytes
    after_s: float


@dataclass(slots=True, eq=False)
class Answer:
    """What was recorded. `whole`: there is no more to come."""

    status: int | None = None
    headers: Headers = ()
    chunks: list[Chunk] = field(default_factory=list)
    whole: bool = False


@dataclass(slots=True, eq=False)
class Entry:
    """What is known of one key."""

    slot: Slot
    digest: bytes
    began_s: float
    ended_s: float | None = None
    answer: Answer = field(default_factory=Answer)
    size_bytes: int = _ENTRY_BYTES
    too_large: bool = False
    billed: bool = False
    fate: Fate | None = None
    """What became of it; None while it runs."""
    refusal: WaypostError | None = None
    """Why the first request was not begun, for those who wait for its answer."""
    first_is_gone: bool = False
    readers: int = 0
    bell: Bell = field(default_factory=Bell)


class Shelf:
    """All entries and what they weigh: running, kept with their answer, or bare keys."""

    def __init__(self, ttl_s: float, max_bytes: int, max_answer_bytes: int, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.size_bytes = 0
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._max_answer_bytes = max_answer_bytes
        self._entries: dict[Slot, Entry] = {}
        # Both in the order in which they ended.
        self._kept: OrderedDict[Slot, Entry] = OrderedDict()
        self._bare: OrderedDict[Slot, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, slot: Slot) -> Entry | None:
        """The entry, if its time is not over. Drops all that are."""
        for ended in (self._kept, self._bare):
            while ended and self._is_over(entry := next(iter(ended.values()))):
                self._forget(entry)
        found = self._entries.get(slot)
        if found is not None and self._is_over(found):
            self._forget(found)
            return None
        return found

    def add(self, slot: Slot, digest: bytes) -> Entry:
        """A running entry in a slot that is free."""
        entry = self._entries[slot] = Entry(slot, digest, self.clock())
        self.size_bytes += entry.size_bytes
        self._make_room()
        return entry

    def record_head(self, entry: Entry, status: int, headers: Headers) -> None:
        """Status and headers of the reply."""
        entry.answer.status, entry.answer.headers = status, headers
        entry.billed = entry.billed or status < 300
        self._grow(entry, sum(len(name) + len(value) for name, value in headers))

    def record(self, entry: Entry, data: bytes) -> None:
        """More of the body."""
        if data and not entry.too_large:
            entry.answer.chunks.append(Chunk(data, self.clock() - entry.began_s))
            self._grow(entry, len(data) + _CHUNK_BYTES)

    def end(self, entry: Entry, *, whole: bool) -> None:
        """No more comes. What was no answer, and no charge, frees its key."""
        if entry.ended_s is not None:
            return
        entry.ended_s = self.clock()
        answer = entry.answer
        answer.whole = whole and not entry.too_large and answer.status is not None
        if answer.whole and (entry.billed or _is_final(answer.status)):
            entry.fate = "kept"
            self._kept[entry.slot] = entry
        elif entry.billed:
            entry.fate = "bare"
            self._bare_it(entry)
        else:
            entry.fate = "free"
            self._forget(entry)
        self._make_room()
        entry.bell.ring()

    def _is_over(self, entry: Entry) -> bool:
        return entry.ended_s is not None and self.clock() >= entry.ended_s + self._ttl_s

    def _grow(self, entry: Entry, size_bytes: int) -> None:
        entry.size_bytes += size_bytes
        self.size_bytes += size_bytes
        self._make_room()
        if entry.size_bytes > self._max_answer_bytes or self.size_bytes > self._max_bytes:
            entry.too_large = True
            self._strip(entry)
        entry.bell.ring()

    def _make_room(self) -> None:
        while self.size_bytes > self._max_bytes and self._kept:
            self._bare_it(next(iter(self._kept.values())))
        while len(self._bare) * _ENTRY_BYTES * _SHARE_OF_BARE_KEYS > self._max_bytes:
            self._forget(next(iter(self._bare.values())))

    def _bare_it(self, entry: Entry) -> None:
        self._kept.pop(entry.slot, None)
        self._bare[entry.slot] = entry
        self._strip(entry)

    def _strip(self, entry: Entry) -> None:
        """Give up the answer. Who reads it holds it still."""
        self.size_bytes -= entry.size_bytes - _ENTRY_BYTES
        entry.answer, entry.size_bytes = Answer(entry.answer.status), _ENTRY_BYTES

    def _forget(self, entry: Entry) -> None:
        del self._entries[entry.slot]
        self._kept.pop(entry.slot, None)
        self._bare.pop(entry.slot, None)
        self.size_bytes -= entry.size_bytes


def _is_final(status: int | None) -> bool:
    """Would the same request be answered with this status again?"""
    return status is not None and status < 500 and status not in RETRIABLE
