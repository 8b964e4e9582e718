"""What these tests share: a clock, accounts, allowances of either kind that end with the test, and what was posted."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import func, select

from waypost.ledger.account import Account, Limits
from waypost.ledger.allowances import Allowances
from waypost.ledger.allowances.pace import Pace
from waypost.ledger.allowances.posted import release_grants, shrink_grants
from waypost.ledger.allowances.shared import SharedSource
from waypost.ledger.allowances.sole import SoleSource
from waypost.ledger.allowances.warnings import BudgetWarnings
from waypost.ledger.threads import DatabaseThreads
from waypost.store.database import Database
from waypost.store.tables import grants, spend

NOON = 1_795_694_400.0
"""2026-11-26T12:00:00Z."""
DAY, MONTH = "2026-11-26", "2026-11"


class Clock:
    """Unix seconds that move when the test says so."""

    def __init__(self, now_s: float = NOON) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


_numbers = itertools.count(1)


def account(key: Limits | None = None, project: Limits | None = None, *, number: int | None = None) -> Account:
    """A key of its own in a project of its own, unless a number is given."""
    number = next(_numbers) if number is None else number
    return Account(f"k{number}", f"p{number}", "web", "shop", key=key or Limits(), project=project or Limits())


def post(database: Database, holder: str, spent: dict[tuple[str, str], int]) -> None:
    """What the posting of a journal does to budgets."""
    with database.write() as connection:
        for (subject, window), micro_usd in sorted(spent.items()):
            statement = database.upsert(spend).values(subject=subject, window=window, micro_usd=micro_usd)
            more = {"micro_usd": spend.c.micro_usd + micro_usd}
            connection.execute(statement.on_conflict_do_update(index_elements=["subject", "window"], set_=more))
        shrink_grants(connection, database, holder, spent)


def bury(database: Database, holder: str) -> None:
    """The holder is dead, and its journal is drained."""
    with database.write() as connection:
        release_grants(connection, holder)


def committed(database: Database, subject: str, window: str) -> int:
    """What is spent of a budget or granted of it, in micro-dollars."""
    with database.read() as connection:
        spent = connection.scalar(select(spend.c.micro_usd).where(spend.c.subject == subject, spend.c.window == window))
        held = connection.scalar(
            select(func.sum(grants.c.amount)).where(
                grants.c.subject == subject,
                grants.c.window == window,
                grants.c.unit == "micro_usd",
                grants.c.amount > 0,
            )
        )
    return (spent or 0) + int(held or 0)


QUIET = Pace(tidy_s=3600)
"""Tests tidy by themselves."""


@dataclass
class Holder:
    """One process that is granted slices."""

    name: str
    allowances: Allowances
    source: SharedSource

    async def quiet(self) -> None:
        """Until every slice that was asked for ahead is there, as it is when a second has passed."""
        if self.source._wanted:
            await self.source._rounds.begin()
        async with self.source._rounds.turn:
            pass

    async def tidy(self) -> None:
        await self.quiet()
        await self.source.tidy(self.allowances._windows)


@dataclass
class Makers:
    """Makes allowances that are closed at the test's end."""

    database: Database
    clock: Clock
    made: list[Allowances] = field(default_factory=list)
    opened: list[DatabaseThreads] = field(default_factory=list)

    def threads(self, database: Database | None = None, within_s: float = 10.0) -> DatabaseThreads:
        threads = DatabaseThreads(lambda: database or self.database, within_s=within_s)
        self.opened.append(threads)
        return threads

    def sole(self, warnings: BudgetWarnings | None = None, **source: Any) -> Allowances:
        arguments = {"pace": QUIET, "clock": self.clock, **source}
        made = Allowances(SoleSource(self.threads(), **arguments), warnings, QUIET, self.clock)
        self.made.append(made)
        return made

    def holder(
        self,
        name: str,
        warnings: BudgetWarnings | None = None,
        *,
        threads: DatabaseThreads | None = None,
        clock: Callable[[], float] | None = None,
        **source: Any,
    ) -> Holder:
        clock = clock or self.clock
        shared = SharedSource(threads or self.threads(), lambda: name, clock=clock, **{"pace": QUIET, **source})
        made = Allowances(shared, warnings, QUIET, clock)
        self.made.append(made)
        return Holder(name, made, shared)

    async def close(self) -> None:
        for each in self.made:
            await each.close()
        for threads in self.opened:
            threads.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def makers(database: Database, clock: Clock) -> AsyncIterator[Makers]:
    makers = Makers(database, clock)
    yield makers
    await makers.close()
