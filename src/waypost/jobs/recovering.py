"""What dead workers left is given to living ones. Asks the database and the engine; blocks, and runs in threads.

A worker is dead when its lease is over, or its machine says so. The lease of another is believed over only by a worker
that has held its own for as long: after a database that was away, all are late. The invariant: nothing that is under
way in a living process is taken from it, and nothing of a dead one is forgotten.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, select, update

from waypost.jobs.engine import Engine
from waypost.jobs.holding import Run, held_by, put_back
from waypost.jobs.lease import TTL_S, Executor, Lease, all_executors, clock_ms
from waypost.ledger.books import now_ms
from waypost.store.database import Database
from waypost.store.job_tables import executors, jobs

logger = logging.getLogger("waypost.jobs")
RUNNING_ALONE_FROM: Final = 2
"""A job whose worker died so often is done by itself: it may be what kills them."""
MOST_RECOVERIES: Final = 3
"""A job whose worker died more often is given up."""


@dataclass(frozen=True, slots=True)
class Left:
    """A dead worker, and the runs that it did."""

    executor_id: str
    runs: Sequence[Run]


def look(database: Database, lease: Lease) -> list[Left]:
    """Workers that are dead and not cleared away yet. From now on nobody takes them for alive."""
    with database.read() as connection:
        at_ms = clock_ms(connection)
        dead = [each for each in all_executors(connection) if _is_dead(each, at_ms, lease)]
        ownerless = _ownerless(connection)
    if not dead and not ownerless:
        return []
    with database.write() as connection:
        gone = [each.id for each in dead if _declare(connection, each)] + ownerless
        held = held_by(connection, gone)
    return [Left(each, [one.run for one in held if one.run.executor_id == each]) for each in gone]


def _is_dead(executor: Executor, at_ms: int, lease: Lease) -> bool:
    if executor.id == lease.executor_id:
        return False
    if executor.beat_at_ms == 0 or lease.is_surely_dead(executor.id):
        return True
    return not executor.is_alive(at_ms) and lease.held_s >= TTL_S


def _declare(connection: Connection, executor: Executor) -> bool:
    """Dead, unless it has given a sign of life since."""
    same = (executors.c.id == executor.id, executors.c.beat_at_ms == executor.beat_at_ms)
    return connection.execute(update(executors).where(*same).values(beat_at_ms=0)).rowcount == 1


def _ownerless(connection: Connection) -> list[str]:
    """Workers that have left no row of their own, but jobs."""
    known = select(executors.c.id)
    query = select(jobs.c.executor_id).where(jobs.c.state == "running", jobs.c.executor_id.not_in(known)).distinct()
    return [each for each in connection.execute(query).scalars() if each]


def give_away(database: Database, engine: Engine, left: Sequence[Left], lease: Lease) -> None:
    """Have living workers go on with what these left; forget those that left nothing. To be called again and again."""
    for each in left:
        engine.recover([each.executor_id])
        standings = engine.standings([(run.job_id, run.number) for run in each.runs]) if each.runs else {}
        for run in each.runs:
            standing = standings.get((run.job_id, run.number))
            # Those that the engine never had were taken and not begun; those that are over have lost their end.
            if standing is None or standing.standing == "over":
                _put_back(database, run)
        _forget(database, each, lease, is_free=not each.runs)


def forget_all(database: Database, left: Sequence[Left], lease: Lease) -> None:
    """These dead workers have left nothing."""
    for each in left:
        _forget(database, each, lease, is_free=not each.runs)


def recover_unknown(database: Database, engine: Engine) -> None:
    """Give away what is under way by the engine only, in processes that are forgotten: it ends at once."""
    holders = engine.holders()
    with database.read() as connection:
        known = {each.id for each in all_executors(connection)}
    engine.recover(sorted(holders - known))


def _forget(database: Database, left: Left, lease: Lease, *, is_free: bool) -> None:
    if is_free:
        with database.write() as connection:
            connection.execute(delete(executors).where(executors.c.id == left.executor_id, executors.c.beat_at_ms == 0))
        lease.clear_away(left.executor_id)


def _put_back(database: Database, run: Run) -> None:
    with database.write() as connection:
        if put_back(connection, run, now_ms()):
            logger.warning("job %s was taken and never begun; it is in the queue again", run.job_id)
