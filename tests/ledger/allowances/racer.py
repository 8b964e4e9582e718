"""One process of a race for a budget: it sends many calls at once, and each of them again until it is paid or in vain.

    python -m tests.ledger.allowances.racer <database> <folder> <calls> <limit>

Before a call "is sent" a line is written to a file of the process's own, as a journal would: whoever finds the file
after the process's death knows what it may have spent. It says when it is ready, begins when it is told a line, and
prints how many calls were paid.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path

from sqlalchemy.engine import make_url
from tests.ledger.allowances.conftest import post

from waypost.errors import BudgetExceeded, LimitExceeded
from waypost.ledger.account import Account, Limits
from waypost.ledger.allowances import Allowances
from waypost.ledger.allowances.pace import Pace
from waypost.ledger.allowances.shared import SharedSource
from waypost.ledger.allowances.windows import window_at
from waypost.ledger.threads import DatabaseThreads
from waypost.store.database import Database

COST = 37
SECONDS = 40.0
PACE = Pace(tidy_s=0.1, idle_s=0.3, dry_s=0.05, lease_s=3.0, renew_s=0.5)
SLOTS = 8


def racing_account(limit: int) -> Account:
    """With a budget for exactly so many calls, of the key and of its project."""
    budget = limit * COST
    key = Limits(daily_budget_micro_usd=budget, monthly_budget_micro_usd=budget, concurrent_requests=SLOTS)
    return Account("k", "p", "web", "shop", key=key, project=Limits(monthly_budget_micro_usd=budget))


def spent_by(calls: int, at_s: float) -> dict[tuple[str, str], int]:
    """What so many calls add to the database."""
    windows = [window_at("day", at_s).name, window_at("month", at_s).name]
    return {(subject, window): calls * COST for subject in ("key:k", "project:p") for window in windows}


class Racer:
    """One process."""

    def __init__(self, database: Database, folder: Path, limit: int) -> None:
        self.holder = f"racer-{os.getpid()}"
        self.database = database
        self.threads = DatabaseThreads(lambda: database)
        self.allowances = Allowances(SharedSource(self.threads, lambda: self.holder, pace=PACE), None, PACE)
        self.account = racing_account(limit)
        self.journal = (folder / self.holder).open("a")
        self.paid = self.posted = 0
        self.began_s = time.time()
        self.over = asyncio.Event()

    async def call(self) -> None:
        """Until it is paid, or nothing is left that could come back."""
        while time.time() < self.began_s + SECONDS:
            try:
                with await self.allowances.admit(self.account, 1):
                    reservation = await self.allowances.reserve(self.account, COST)
                    self.journal.write("sent\n")
                    self.journal.flush()
                    await asyncio.sleep(0.02)
                    self.paid += 1
                    reservation.settle(COST)
                    return
            except BudgetExceeded as error:
                if error.retry_after_s is None or error.retry_after_s > 5:
                    return
            except LimitExceeded:
                pass
            await asyncio.sleep(0.1)

    async def drain(self) -> None:
        """As the drainer does, a little late, until the race is over. Not cancelled: a thread goes on."""
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), 0.2)
            await self.post()

    async def post(self) -> None:
        """Post what is paid and is not posted yet."""
        calls = self.paid - self.posted
        await asyncio.to_thread(post, self.database, self.holder, spent_by(calls, self.began_s))
        self.posted += calls

    async def race(self, calls: int) -> int:
        """All of it."""
        draining = asyncio.create_task(self.drain())
        await asyncio.gather(*(self.call() for _ in range(calls)))
        self.over.set()
        await draining
        await self.allowances.close()
        return self.paid


def main() -> None:
    """See above."""
    url, folder, calls, limit = sys.argv[1:]
    database = Database(make_url(url))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    sys.stdout.write(str(asyncio.run(Racer(database, Path(folder), int(limit)).race(int(calls)))))


if __name__ == "__main__":
    main()
