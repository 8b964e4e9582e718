"""jobs/dispatch.py: what a worker takes from the queue."""

from __future__ import annotations

from tests.jobs.test_batches import NOW_MS, filled

from waypost.jobs.dispatch import claim
from waypost.store.database import Database


def test_a_worker_takes_no_more_than_it_has_room_for_the_oldest_first(database: Database) -> None:
    """However PostgreSQL carries out the statement: with few rows it may run a part of it once for each."""
    batch = filled(database, 40)
    taken = []
    for _ in range(3):
        with database.write() as connection:
            taken.append([run.job_id for run in claim(connection, "e", 4, NOW_MS)])
    assert [len(each) for each in taken] == [4, 4, 4]
    one_after_another = [*taken[0], *taken[1], *taken[2]]
    assert one_after_another == sorted(one_after_another)
    assert batch.state == "open"
