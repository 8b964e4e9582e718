"""One round of draining a journal folder: what is new in its files becomes rows, and files that are through go.

Each transaction posts records and moves the offsets of the files they came from, so that a death at any moment loses
and doubles nothing. A file is removed after that: it is renamed, then its offset is deleted, then the file is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError

from waypost.catalogue import PriceBook
from waypost.ledger.charges import Spend
from waypost.ledger.journal.adoption import adopt, begun_before, of_holder
from waypost.ledger.journal.backlog import leave_word, renew_word, word_of
from waypost.ledger.journal.frames import HEADER_BYTES
from waypost.ledger.journal.locks import take
from waypost.ledger.journal.names import DONE, DRAINED, Listing, Segments, listing, lock_name
from waypost.ledger.journal.offsets import Offsets
from waypost.ledger.journal.reader import Gap, Slice, read, set_aside
from waypost.ledger.posting import Posting
from waypost.ledger.records import Record
from waypost.store.database import Database

logger = logging.getLogger("waypost.ledger")

LIMIT: Final = 2000
"""Records in a transaction."""
YOUNG_S: Final = 60.0
"""A lock file without segments may be one that is just being locked, until it is older."""
LOST_S: Final = 24 * 3600.0
"""After so long an open attempt of a process that is not in this folder is taken for one of a machine that is gone."""
LOST_CHECK_S: Final = 600.0
RENEWAL_S: Final = 2.0
_RECORDS_FAULT: Final = (DataError, IntegrityError, ValueError, OverflowError, TypeError)
"""What posting raises if a record cannot become a row; anything else is not about the records."""


class Follower(Protocol):
    """Is told, within the same transaction, what was posted. What it raises undoes the transaction."""

    def posted(self, connection: Connection, database: Database, holder: str, spend: Spend) -> None:
        """Attempts of this process have ended, and added so much."""

    def gone(self, connection: Connection, database: Database, holder: str) -> None:
        """This process is dead, and all it wrote is posted. It may be told more than once."""


@dataclass(slots=True)
class Counters:
    """What was done so far."""

    records: int = 0
    adopted_attempts: int = 0
    gaps: int = 0
    """Damaged, unreadable or refused; their bytes are in the quarantine."""
    gap_bytes: int = 0


@dataclass(slots=True)
class _Reading:
    """What a round has read."""

    slices: list[Slice] = field(default_factory=list)
    through: list[str] = field(default_factory=list)
    """Files that get no more, and are read to their end."""
    dead: list[str] = field(default_factory=list)
    """Processes that are dead, and all their files through."""
    is_behind: bool = False
    is_full: bool = False

    @property
    def record_count(self) -> int:
        return sum(len(each.records) for each in self.slices)


class _RecordsRefused(Exception):
    """Posting failed because of what is in the records."""


class Draining:
    """Rounds over one folder. `pause` gives other threads a turn."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        prices: PriceBook,
        followers: Sequence[Follower],
        pause: Callable[[], None],
    ) -> None:
        self.offsets = Offsets()
        self.counters = Counters()
        self._folder = folder
        self._database = database
        self._prices = prices
        self._followers = followers
        self._pause = pause
        self._limit = LIMIT
        self._complete_at_s = word_of(folder)[1] or 0.0
        self._renewed_at_s = 0.0
        self._lost_check_at_s = time.monotonic()
        self._told: set[str] = set()

    def round(self) -> bool:
        """Drain one transaction's worth. Is there more at once? Raises DatabaseError, OSError."""
        began_s = time.time()
        try:
            found, dead = self._look()
            names = [name for segments in found.holders.values() for name in segments.sizes]
            self.offsets.learn(self._database, names)
            self._remove(found.done)
            reading = self._read(found, dead)
            self._post(reading)
            for holder in reading.dead:
                self._bury(holder)
        except BaseException:
            # Whether a transaction that failed at its end was committed, only the database knows.
            self.offsets.forget()
            raise
        for name in reading.through:
            (self._folder / name).rename(self._folder / f"{name}{DONE}")
            self.offsets.forget([name])
        for holder in reading.dead:
            self._forget_holder(holder, found.holders[holder])
        self._leave_word(reading, names, began_s)
        self._adopt_lost(list(found.holders))
        return reading.is_full or bool(reading.through)

    def _look(self) -> tuple[Listing, set[str]]:
        """What is there, and which of its processes are dead."""
        found = listing(self._folder)
        dead = {holder for holder, segments in found.holders.items() if self._is_dead(holder, segments)}
        # Only what is there after a process's death is all that it wrote.
        return (listing(self._folder) if dead else found), dead

    def _is_dead(self, holder: str, segments: Segments) -> bool:
        if segments.locked_at_s is None:
            return True
        if not segments.sizes and time.time() - segments.locked_at_s < YOUNG_S:
            return False
        try:
            held = take(self._folder / lock_name(holder), create=False)
        except FileNotFoundError:
            return True
        if held is not None:
            held.release()
        return held is not None

    def _read(self, found: Listing, dead: set[str]) -> _Reading:
        reading = _Reading()
        left = self._limit
        for holder, segments in found.holders.items():
            names = list(segments.sizes)
            for place, name in enumerate(names):
                if left <= 0:
                    reading.is_full = reading.is_behind = True
                    return reading
                is_final = holder in dead or place < len(names) - 1
                one = self._read_one(name, segments.sizes[name], left, is_final=is_final)
                if one is None:
                    reading.is_behind = True
                    break
                if one.end > one.start:
                    reading.slices.append(one)
                    left -= len(one.records)
                if not one.is_last:
                    reading.is_behind = reading.is_behind or one.is_behind
                    reading.is_full = reading.is_full or (one.is_behind and one.end > one.start)
                    break
                reading.through.append(name)
            else:
                if holder in dead:
                    reading.dead.append(holder)
        return reading

    def _read_one(self, name: str, size: int, limit: int, *, is_final: bool) -> Slice | None:
        """None: it cannot be read now, or not by this version."""
        offset = self.offsets.known.get(name, 0)
        if not is_final and size <= max(offset, HEADER_BYTES):
            return Slice(name, offset, offset)
        try:
            one = read(self._folder / name, offset, limit=limit, is_final=is_final, pause=self._pause)
        except OSError as error:
            self._tell_once(f"journal: {name} cannot be read: {error}")
            return None
        if one.is_foreign:
            self._tell_once(f"journal: {name} was written by a newer version, which has to drain it")
            return None
        return one

    def _post(self, reading: _Reading) -> None:
        if not reading.slices:
            return
        count = reading.record_count
        try:
            self._commit(reading.slices)
        except _RecordsRefused as error:
            reading.through, reading.dead = [], []
            reading.is_behind = reading.is_full = True
            if count > 1:
                # One by one in the end, to find the record it is about.
                self._limit = max(1, count // 2)
                return
            self._set_aside(reading.slices, error)
            count = 0
        self._limit = LIMIT
        self.counters.records += count
        for gap in (gap for one in reading.slices for gap in one.gaps):
            self._tell_gap(gap)

    def _commit(self, slices: Sequence[Slice]) -> None:
        batches: dict[str, list[Record]] = {}
        for one in slices:
            batches.setdefault(one.name.partition(".")[0], []).extend(one.records)
        with self._database.write() as connection:
            self.offsets.move(connection, self._database, slices)
            try:
                spends = Posting(connection, self._database, self._pause).post(batches)
            except _RECORDS_FAULT as error:
                raise _RecordsRefused from error
            self._tell_followers(connection, spends)
        self.offsets.moved(slices)

    def _set_aside(self, slices: Sequence[Slice], error: _RecordsRefused) -> None:
        """Go on behind the one record that was read, and that the database does not take."""
        cause = error.__cause__
        for one in slices:
            for start, end in one.spans:
                one.gaps.append(set_aside(self._folder / one.name, start, end))
                logger.error("journal: a record cannot be posted (%s)", type(cause).__name__)
            one.records, one.spans = [], []
        self._commit(slices)

    def _bury(self, holder: str) -> None:
        """Close what a dead process left open."""
        while True:
            with self._database.write() as connection:
                count, spends = adopt(connection, self._database, of_holder(holder), self._prices, self._pause)
                self._tell_followers(connection, spends)
                if not count:
                    for follower in self._followers:
                        follower.gone(connection, self._database, holder)
            self._note_adopted(holder, count)
            if not count:
                return

    def _forget_holder(self, holder: str, segments: Segments) -> None:
        for name in (*segments.unbegun, lock_name(holder)):
            (self._folder / name).unlink(missing_ok=True)

    def _remove(self, done: Sequence[str]) -> None:
        if not done:
            return
        with self._database.write() as connection:
            self.offsets.remove(connection, [name.removesuffix(DONE) for name in done])
        for name in done:
            (self._folder / name).unlink(missing_ok=True)

    def _adopt_lost(self, here: list[str]) -> None:
        """Attempts of machines whose folders are gone are closed after a day."""
        if time.monotonic() - self._lost_check_at_s < LOST_CHECK_S:
            return
        which = begun_before(int((time.time() - LOST_S) * 1000), here)
        count = 1
        while count:
            with self._database.write() as connection:
                count, spends = adopt(connection, self._database, which, self._prices, self._pause)
                self._tell_followers(connection, spends)
            self._note_adopted("a machine that is gone", count)
        self._lost_check_at_s = time.monotonic()

    def _leave_word(self, reading: _Reading, names: Sequence[str], began_s: float) -> None:
        if not reading.is_behind:
            self._complete_at_s = began_s
        is_new = reading.slices or reading.through or not (self._folder / DRAINED).exists()
        if not is_new and (reading.is_behind or began_s - self._renewed_at_s < RENEWAL_S):
            return
        self._renewed_at_s = began_s
        try:
            if is_new:
                known = self.offsets.known
                offsets = {name: known[name] for name in names if name in known}
                leave_word(self._folder, offsets, self._complete_at_s)
            else:
                renew_word(self._folder, self._complete_at_s)
        except OSError as error:
            self._tell_once(f"journal: how far it is drained cannot be written down: {error}")

    def _tell_followers(self, connection: Connection, spends: Mapping[str, Spend]) -> None:
        for follower in self._followers:
            for holder, spend in spends.items():
                if spend:
                    follower.posted(connection, self._database, holder, spend)

    def _note_adopted(self, whose: str, count: int) -> None:
        if count:
            self.counters.adopted_attempts += count
            logger.warning("journal: attempts of %s that died were closed as unknown (attempts=%d)", whose, count)

    def _tell_gap(self, gap: Gap) -> None:
        if gap.kind == "cut short":
            logger.info("journal: the last record of %s was not written to its end", gap.name)
            return
        self.counters.gaps += 1
        self.counters.gap_bytes += gap.end - gap.start
        logger.error(
            "journal: bytes %d to %d of %s are %s; they are in the quarantine folder",
            gap.start,
            gap.end,
            gap.name,
            gap.kind,
        )

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            logger.error("%s", text)
