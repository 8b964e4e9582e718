"""All of the ledger that one process has: its journal, its books, and the threads that bring them into the database.

Nothing is opened before `start`, or before the first call that is written down: a process may be forked before that.
The invariant: requests never wait for the database, and a database that is away stops nothing but what costs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from waypost.catalogue import PriceBook
from waypost.ledger.books import Books, now_ms
from waypost.ledger.definitions import told_time
from waypost.ledger.journal import Drainer, Journal
from waypost.ledger.journal.backlog import Backlog, measure
from waypost.ledger.records import Record, RequestEnded
from waypost.ledger.retention_task import FIRST_S, INTERVAL_S, RetentionTask
from waypost.ledger.spending import Spending
from waypost.ledger.status import LedgerStatus, StatusSource
from waypost.ledger.threads import DatabaseThreads
from waypost.settings import Settings
from waypost.store.lazy import LazyDatabase
from waypost.webhooks import WebhookSecrets
from waypost.webhooks.senders import senders_of

if TYPE_CHECKING:
    from waypost.ledger.allowances.webhook import WarningWebhook
    from waypost.ledger.journal.draining import Follower

logger = logging.getLogger("waypost.ledger")
LATE_MS: Final = 5_000
"""How long what is written down may wait for the database until that is told."""
STAND_IN_S: Final = INTERVAL_S + 600.0
"""After so long the worker has done what is due every hour, if there is one."""
FOLDER: Final = "journal"
"""In the data folder."""


@dataclass(frozen=True, slots=True)
class Company:
    """Who else is at the same ledger, and what this process is to it.

    `others_spend`: a process beside this one may make calls that cost. `is_worker`: this one is there for what is done
    in the background; `has_worker`: there is such a one, so that this one only stands in for it.
    """

    others_spend: bool = False
    is_worker: bool = False
    has_worker: bool = False


ALONE: Final = Company()


class Ledger:
    """One process's, in one event loop."""

    def __init__(self, settings: Settings, database: LazyDatabase, prices: PriceBook, company: Company = ALONE) -> None:
        self._company = company
        self._settings = settings
        self._folder = settings.data_dir / FOLDER
        self._journal: Journal | None = None
        self._ended: list[RequestEnded] = []
        """Requests whose end is written in this turn of the loop."""
        self._drainer: Drainer | None = None
        self._database = database
        self._prices = prices
        self._senders = senders_of(settings)
        webhook = None if self._senders.configured is None else self._warning_webhook
        alone = settings.server.workers == 1 and not company.others_spend
        self._spending = Spending(database, lambda: self.journal.holder, self._drain, alone=alone, webhook=webhook)
        self.books = Books(self, self._spending)
        first_s = STAND_IN_S if company.has_worker else FIRST_S
        self._retention = RetentionTask(database.open, lambda: settings.ledger, first_s=first_s)
        self.status: StatusSource = LedgerStatus(
            settings,
            database,
            journal_folder=self._folder,
            trouble=lambda: self.trouble,
            retention=lambda: self._retention.state,
        )

    def append(self, record: Record) -> None:
        """Write it down; see `Journal`. Ends of requests, whose replies are over, at the end of the loop's turn."""
        if type(record) is RequestEnded:
            self._append_soon(record)
        else:
            (self._journal or self.journal).append(record)

    def _append_soon(self, record: RequestEnded) -> None:
        """Those of one turn in one write."""
        self._ended.append(record)
        if len(self._ended) == 1:
            try:
                asyncio.get_running_loop().call_soon(self._append_ended)
            except RuntimeError:  # nobody would call it
                self._append_ended()

    def _append_ended(self) -> None:
        if self._ended:
            ended, self._ended = self._ended, []
            self.journal.append_ends(ended)

    @property
    def journal(self) -> Journal:
        """This process's journal, opened now if it is not."""
        if self._journal is None:
            ledger = self._settings.ledger
            self._journal = Journal(self._folder, max_bytes=ledger.journal_max_bytes, fsync=ledger.fsync)
            self._start_drainer()
        return self._journal

    @property
    def refusal(self) -> str | None:
        """Why calls that cost are refused now; None: they are not."""
        return None if self._journal is None else self._journal.state().refusal

    def backlog(self) -> Backlog:
        """What all processes of this folder have not brought into the database yet. Blocks; raises OSError."""
        try:
            return measure(self._folder)
        except FileNotFoundError:
            # Nothing was written down yet.
            return Backlog()

    @property
    def trouble(self) -> str | None:
        """What keeps the journal from going into the database; None: nothing does."""
        own = None if self._drainer is None else self._drainer.status().trouble
        return own or self._lateness()

    def _lateness(self) -> str | None:
        """What another process, which drains it, is late with: its log knows why."""
        since_ms = None if self._journal is None else self._journal.state().undrained_since_ms
        if since_ms is None or now_ms() - since_ms < LATE_MS:
            return None
        return f"what was written down since {told_time(since_ms)} is not in the database yet"

    async def start(self) -> None:
        """Begin to drain what earlier processes left; the first call of this one begins it otherwise.

        A server that has nothing to bring into its database does not open it, which takes half as much memory.
        """
        if self._company.is_worker or await asyncio.to_thread(_holds_anything, self._folder):
            self._start_drainer()
        self._retention.start()

    async def close(self) -> None:
        """Bring what is left into the database, if it is there, and let go of everything."""
        await self._spending.close()
        self._append_ended()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._retention.stop()
        if self._journal is not None:
            self._journal.close()
        if self._drainer is not None:
            self._drainer.stop()

    def _warning_webhook(self, threads: DatabaseThreads) -> WarningWebhook:
        from waypost.ledger.allowances.webhook import WarningWebhook

        secrets = WebhookSecrets(self._settings.webhooks, self._settings.data_dir)
        return WarningWebhook(self._senders, secrets, threads)

    def _drain(self) -> bool:
        self._start_drainer()
        return self._drainer is not None and self._drainer.drain_now()

    def _start_drainer(self) -> None:
        if self._drainer is None:
            stands_in = self._company.has_worker
            database, prices = self._database.open, self._prices
            self._drainer = Drainer(self._folder, database, prices, followers=_followers, stands_in=stands_in)
            self._drainer.start()


def _followers() -> Sequence[Follower]:
    """Who learns what was posted; late, as they bring SQLAlchemy along."""
    from waypost.ledger.allowances.posted import PostedGrants

    return (PostedGrants(),)


def _holds_anything(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
