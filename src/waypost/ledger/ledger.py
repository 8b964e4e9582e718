"""All of the ledger that one process has: its journal, its books, and the threads that bring them into the database.

Nothing is opened before `start`, or before the first call that is written down: a process may be forked before that.
The invariant: requests never wait for the database, and a database that is away stops nothing but what costs.
"""

from __future__ import annotations

import logging
from typing import Final

from waypost.catalogue import PriceBook
from waypost.ledger.books import Allowances, Books
from waypost.ledger.journal import Drainer, Journal
from waypost.ledger.records import Record
from waypost.settings import Settings
from waypost.store.lazy import LazyDatabase

logger = logging.getLogger("waypost.ledger")
FOLDER: Final = "journal"
"""In the data folder."""


class Ledger:
    """One process's. `start` and `close` block: call them in a thread."""

    def __init__(
        self, settings: Settings, database: LazyDatabase, prices: PriceBook, allowances: Allowances | None = None
    ) -> None:
        self._settings = settings
        self._folder = settings.data_dir / FOLDER
        self._journal: Journal | None = None
        self._drainer: Drainer | None = None
        self._database = database
        self._prices = prices
        self.books = Books(self, allowances)

    def append(self, record: Record) -> None:
        """Write it down; see `Journal`."""
        (self._journal or self.journal).append(record)

    @property
    def journal(self) -> Journal:
        """This process's journal, opened now if it is not."""
        if self._journal is None:
            ledger = self._settings.ledger
            self._journal = Journal(self._folder, max_bytes=ledger.journal_max_bytes, fsync=ledger.fsync)
            self._start_drainer()
        return self._journal

    def start(self) -> None:
        """Open the database, bring its schema up to date, and begin to drain. One that is away is tried again."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._start_drainer()

    def close(self) -> None:
        """Bring what is left into the database, if it is there, and let go of everything."""
        if self._journal is not None:
            self._journal.close()
        if self._drainer is not None:
            self._drainer.stop()

    def _start_drainer(self) -> None:
        if self._drainer is None:
            self._drainer = Drainer(self._folder, self._database.open, self._prices)
            self._drainer.start()
