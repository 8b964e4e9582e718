"""What becomes of attempts whose process died: they are closed as unknown, at an estimated cost, by those who live on.

What such an attempt gave is known to nobody here: the provider may have sent more than anyone read. It is priced as its
prompt and a short answer, and never above what had been reserved for it. Should its end turn up after all, as from a
machine that was cut off, posting puts the true one in its place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, select

from waypost.catalogue import PriceBook
from waypost.chat import Usage
from waypost.ledger.charges import Spend
from waypost.ledger.deferred import DEFERRED
from waypost.ledger.journal.encoding import UnreadableRecord, decode
from waypost.ledger.posting import Posting
from waypost.ledger.records import AttemptClosed, AttemptOpened, Counts
from waypost.store.database import Database
from waypost.store.tables import unfinished_attempts

logger = logging.getLogger("waypost.ledger")

ANSWER_TOKENS: Final = 256
"""The short answer."""
LIMIT: Final = 500
RESERVED: Final = "reservation"
"""The source of a price that was only known as what had been reserved."""


def of_holder(holder: str) -> ColumnElement[bool]:
    """All that this process left unfinished."""
    return unfinished_attempts.c.holder == holder


def begun_before(at_ms: int, living: list[str]) -> ColumnElement[bool]:
    """What began before that moment, and is of none of these processes, nor of a batch at a provider."""
    living = [*living, DEFERRED]
    return (unfinished_attempts.c.started_at_ms < at_ms) & unfinished_attempts.c.holder.not_in(living)


def adopt(
    connection: Connection,
    database: Database,
    which: ColumnElement[bool],
    prices: PriceBook,
    pause: Callable[[], None] = lambda: None,
) -> tuple[int, dict[str, Spend]]:
    """Close some of these attempts and end their requests. How many, 0 if none is left; and the spend, by process."""
    table = unfinished_attempts
    query = select(table).where(which).order_by(table.c.entry_id).limit(LIMIT).with_for_update(skip_locked=True)
    rows = connection.execute(query).all()
    if len(rows) == LIMIT and rows[0].entry_id != rows[-1].entry_id:
        # The last request may have more attempts than were read.
        rows = [row for row in rows if row.entry_id != rows[-1].entry_id]
    closed: dict[str, list[AttemptClosed]] = {}
    abandoned: dict[str, AttemptOpened] = {}
    for row in rows:
        opened = _opened(row.record)
        if opened is None:
            logger.error("journal: what began attempt %s cannot be read; it stays open", row.attempt_id)
            connection.execute(delete(table).where(table.c.attempt_id == row.attempt_id))
        else:
            closed.setdefault(row.holder, []).append(closing(opened, prices))
            abandoned[row.entry_id] = opened
    return len(rows), Posting(connection, database, pause).post(closed, abandoned)


def closing(opened: AttemptOpened, prices: PriceBook) -> AttemptClosed:
    """The end of an attempt that nobody saw."""
    cost, source = _estimate(opened, prices)
    return AttemptClosed(
        attempt_id=opened.attempt_id,
        ended_at_ms=time.time_ns() // 1_000_000,
        outcome="unknown",
        error_code=None,
        model=None,
        counts=Counts(input_tokens=opened.input_tokens),
        cost_micro_usd=cost,
        cost_basis="unpriced" if cost is None else "estimated",
        price_source=source,
        first_token_ms=None,
        provider_key=None,
        way=None,
    )


def _opened(record: bytes) -> AttemptOpened | None:
    try:
        opened = decode(record)
    except UnreadableRecord:
        return None
    return opened if isinstance(opened, AttemptOpened) else None


def _estimate(opened: AttemptOpened, prices: PriceBook) -> tuple[int | None, str | None]:
    """The cost, and where its price comes from."""
    provider, kind, model = opened.provider, opened.kind, opened.model or opened.asked_model
    reserved, at_s = opened.reserved_micro_usd, opened.started_at_ms / 1000
    # Embeddings have no answer, and no price for one.
    for answer_tokens in (ANSWER_TOKENS, None):
        usage = Usage(input_tokens=opened.input_tokens, output_tokens=answer_tokens)
        cost = prices.cost_micro_usd(provider, kind, model, usage, at_s=at_s)
        if cost is not None:
            return cost if reserved is None else min(cost, reserved), prices.source(provider, kind, model)
    return reserved, None if reserved is None else RESERVED
