"""How often things are done for pools, how long they may take, and which pools may be forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

from waypost.ledger.allowances.pool import MONEY, Pool
from waypost.ledger.allowances.windows import Window

LOOKED_THROUGH: Final = 1_000
"""Pools that are looked at in one go for some to forget."""


@dataclass(frozen=True, slots=True)
class Pace:
    """All in seconds, but for `most_pools`. The second part is of slices only."""

    tidy_s: float = 1.0
    """How often all of the below is looked after."""
    learn_s: float = 5.0
    """How often it is looked what the database knows to be spent."""
    forget_s: float = 600.0
    """After so long without use a pool may be forgotten, if there are many."""
    most_pools: int = 20_000
    """Of one window, before some are forgotten."""

    dry_s: float = 0.25
    """For so long nobody asks for more where nothing was left."""
    idle_s: float = 3.0
    """After so long without use, what is left of a slice goes back."""
    lease_s: float = 30.0
    """For so long slots stay a holder's that gives no sign of life."""
    renew_s: float = 5.0
    """How often a holder gives one."""
    want_s: float = 3.0
    """For so long others are asked to leave a part of what they hold to a holder that was refused."""
    clean_s: float = 60.0
    """How often rows are removed that say nothing any more."""


def idle_pools(window: Window, now_s: float, pace: Pace) -> list[Pool]:
    """Some that hold nothing and have long not been used, of a window with too many of them."""
    if len(window.pools) <= pace.most_pools:
        return []
    found = []
    for place, pool in tuple(islice(window.pools.items(), LOOKED_THROUGH)):
        # Those looked at go to the end, so that all have their turn.
        window.pools[place] = window.pools.pop(place)
        if pool.unit == MONEY and not pool.reserved and pool.used_at_s + pace.forget_s <= now_s:
            found.append(pool)
    return found


def forget(pool: Pool) -> None:
    """Whoever asks for it again gets a new one."""
    pool.window.pools.pop((pool.unit, pool.subject), None)
