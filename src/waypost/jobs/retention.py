"""Forgets the engine's own rows of runs that are over; jobs themselves are forgotten with the ledger's rows.

One process at a time does it, and a little each time. Blocks.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from waypost.jobs.engine import RETIRED_AT_ONCE, Engine
from waypost.ledger.books import now_ms
from waypost.ledger.upkeep import claim, finish
from waypost.store.database import Database

TASK: Final = "engine_retention"
KEPT: Final = timedelta(hours=1)
"""A run that is over is of use to nobody; a while for whoever looks into what happened."""
EVERY_MS: Final = 10 * 60 * 1000


def retire(database: Database, engine: Engine, holder: str) -> int:
    """Forget what was over an hour ago, if nobody did so lately; how many runs there were. Raises DatabaseError."""
    began_ms, count = now_ms(), 0
    if not claim(database, TASK, holder, began_ms, not_since_ms=began_ms - EVERY_MS):
        return 0
    try:
        before = (datetime.now(UTC) - KEPT).isoformat()
        some = RETIRED_AT_ONCE
        while some == RETIRED_AT_ONCE:
            some = engine.retire(before)
            count += some
    finally:
        finish(database, TASK, holder, now_ms(), {"runs": count})
    return count
