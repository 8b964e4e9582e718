"""Tells somebody, once, that a share of a budget is spent, or that it begins to refuse: in the log, and by webhook.

Nothing waits for it. Which of several processes tells is claimed in the database, so that it is told once over restarts
too; while the database is away each tells by itself. The invariant: no request is refused or delayed by a warning.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Literal, TypeAlias

from waypost.ledger.allowances.counts import AllowanceCounts
from waypost.ledger.allowances.plan import Allowance
from waypost.ledger.allowances.pool import Pool
from waypost.ledger.allowances.refusals import iso_time, usd
from waypost.ledger.allowances.source import Need

logger = logging.getLogger("waypost.budget")

REFUSES: Final = inf
"""Stands for the share at which calls are refused."""
MOST_AT_ONCE: Final = 100
"""Warnings on their way. More would be those of very many end users; they are logged only."""


@dataclass(frozen=True, slots=True)
class BudgetWarning:
    """What is told. `share` is REFUSES, or the share of the budget that is spent."""

    allowance: Allowance
    window: str
    resets_at_s: float
    share: float
    spent: int

    @property
    def sentence(self) -> str:
        """For people."""
        allowance = self.allowance
        spent = f"{usd(self.spent)} of {usd(allowance.limit)} USD are spent"
        if self.share == REFUSES:
            return f"The {allowance.title} refuses calls that may cost more than is left: {spent}."
        return f"The {allowance.title} has reached {self.share:.0%}: {spent}."

    def fields(self) -> dict[str, Any]:
        """As JSON data. Chat services show `text`."""
        allowance = self.allowance
        return {
            "event": "budget_refuses" if self.share == REFUSES else "budget_reached",
            "text": f"{self.sentence} It resets at {iso_time(self.resets_at_s)}.",
            "whose": allowance.whose,
            "name": allowance.name,
            "subject": allowance.subject,
            "budget": allowance.what,
            "window": self.window,
            "share": None if self.share == REFUSES else self.share,
            "spent_micro_usd": self.spent,
            "limit_micro_usd": allowance.limit,
            "resets_at": iso_time(self.resets_at_s),
        }


Turn: TypeAlias = Literal["ours", "queued", "another's"]
"""Whose a warning is to tell: this process's; its own, and it is on its way already; another's, who told it before."""
Claim: TypeAlias = Callable[[BudgetWarning], Awaitable[Turn]]
"""The turn is of whoever asks first, in any process. Raises nothing but cancellation."""
Deliver: TypeAlias = Callable[[BudgetWarning], Awaitable[None]]
"""Sends it to whoever wants it. Raises nothing but cancellation."""


class BudgetWarnings:
    """Of one process. `claim` None: this process is the only one."""

    def __init__(
        self, claim: Claim | None = None, deliver: Deliver | None = None, counts: AllowanceCounts | None = None
    ) -> None:
        self._claim = claim
        self._deliver = deliver
        self._counts = counts or AllowanceCounts()
        self._tasks: set[asyncio.Task[None]] = set()

    def spent(self, need: Need) -> None:
        """Something was spent of this budget."""
        allowance, pool = need.allowance, need.pool
        for share in allowance.warn_at:
            if share not in pool.told and pool.all_spent >= share * allowance.limit:
                self._tell(allowance, pool, share)

    def refused(self, need: Need) -> None:
        """A call was refused that what is not spent of this budget does not cover."""
        if REFUSES not in need.pool.told:
            self._tell(need.allowance, need.pool, REFUSES)

    async def close(self) -> None:
        """Wait for no more warnings."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _tell(self, allowance: Allowance, pool: Pool, share: float) -> None:
        pool.told = (*pool.told, share)
        warning = BudgetWarning(allowance, pool.window.name, pool.window.ends_at_s, share, pool.all_spent)
        if len(self._tasks) >= MOST_AT_ONCE:
            self._log(warning)
            return
        # In a context of its own: it is not part of the request that happens to be the one.
        task = asyncio.get_running_loop().create_task(self._told(warning), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _told(self, warning: BudgetWarning) -> None:
        turn = "ours" if self._claim is None else await self._claim(warning)
        if turn == "another's":
            return
        self._log(warning)
        if turn == "ours" and self._deliver is not None:
            await self._deliver(warning)

    def _log(self, warning: BudgetWarning) -> None:
        self._counts.budget_warnings += 1
        # As JSON, since names are written by people: one line, whatever is in them.
        logger.warning("%s", json.dumps(warning.fields()))
