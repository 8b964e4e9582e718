from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import func, select, update

from waypost.errors import Conflict, IdempotencyConflict, JobHasEnded, JobNotEnded, UnknownBatch
from waypost.jobs import batch_changes, batch_items, batches
from waypost.jobs.batch import UNUSABLE_ITEM, Batch, BatchRequest, Counts, Item, NewBatch, item_id
from waypost.jobs.job import Input, JobError
from waypost.jobs.rows import PARTS
from waypost.store.database import Database
from waypost.store.job_tables import batches as batch_table
from waypost.store.job_tables import job_events, job_inputs, jobs

NOW_MS = 1_800_000_000_000
DAYS = 30
REQUEST = BatchRequest("analyze", {"kinds": ["themes"]})


def text(index: int, content: str | None = None) -> Item:
    return Item(index, Input((content or f"text {index}").encode()), name=f"n{index}")


def made(database: Database, idempotency: str | None = None, **more: Any) -> Batch:
    with database.write() as connection:
        new = NewBatch("p", "k", REQUEST, idempotency=idempotency, **more)
        return batches.create(connection, database, new, NOW_MS).batch


def add(database: Database, batch: Batch, items: Sequence[Item]) -> batch_items.Added:
    with database.write() as connection:
        return batch_items.add(connection, database, batch, items, NOW_MS, DAYS)


def filled(database: Database, count: int) -> Batch:
    batch = made(database)
    add(database, batch, [text(index) for index in range(count)])
    return batch


def close(database: Database, batch: Batch) -> Batch:
    with database.write() as connection:
        return batch_changes.close(connection, "p", batch.id, NOW_MS, DAYS)


def put(database: Database, batch: Batch, state: str, *indexes: int, **more: Any) -> None:
    with database.write() as connection:
        which = jobs.c.id.in_([item_id(batch.id, index) for index in indexes])
        connection.execute(update(jobs).where(which).values(state=state, **more))


def end(database: Database, batch: Batch, index: int, state: str = "succeeded") -> bool:
    """As a worker ends a job. True: the batch has ended with it."""
    with database.write() as connection:
        own = jobs.c.id == item_id(batch.id, index)
        connection.execute(update(jobs).where(own).values(state=state, cost_micro_usd=10))
        return batch_changes.finish_if_done(connection, batch.id, NOW_MS, DAYS)


def now(database: Database, batch: Batch) -> Batch:
    with database.read() as connection:
        return batches.find(connection, None, batch.id)


def counted(database: Database, batch: Batch) -> Counts:
    with database.read() as connection:
        return batches.counts(connection, batch.id)


def test_items_added_again_are_there_once_and_in_their_order(database: Database) -> None:
    """As whoever crashed does: the second time brings only what is new."""
    batch = made(database)
    assert add(database, batch, [text(index) for index in range(3)]) == batch_items.Added(3, 0)
    assert add(database, batch, [text(index) for index in range(5)]) == batch_items.Added(2, 3)
    with database.read() as connection:
        found = batch_items.read_from(connection, batch.id, 0, 10)
        inputs = connection.scalar(select(func.count()).select_from(job_inputs))
    assert [job.batch_index for job in found] == [0, 1, 2, 3, 4]
    assert [job.id for job in found] == sorted(job.id for job in found)
    assert inputs == 5
    assert found[1].request == {"kinds": ["themes"], "item": "n1"}
    assert (found[1].priority, found[1].type, found[1].project_id) == (7, "analyze", "p")


def test_another_content_in_the_same_place_is_a_conflict_that_names_it(database: Database) -> None:
    batch = filled(database, 3)
    with pytest.raises(batch_items.ItemChanged) as caught:
        add(database, batch, [text(1, "another text"), text(3)])
    assert caught.value.index == 1
    assert counted(database, batch).all == 3, "nothing of it was added"


def test_two_who_add_the_same_at_once_add_it_once(database: Database) -> None:
    batch = made(database)
    both = threading.Barrier(2, timeout=30)

    def work() -> None:
        both.wait()
        add(database, batch, [text(index) for index in range(200)])

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counted(database, batch).all == 200


def test_a_closed_batch_takes_no_more(database: Database) -> None:
    batch = filled(database, 1)
    assert close(database, batch).total == 1
    with pytest.raises(Conflict):
        add(database, batch, [text(1)])


def test_a_batch_ends_with_its_last_item_and_not_before(database: Database) -> None:
    batch = filled(database, 3)
    put(database, batch, "running", 0, 1)
    assert not end(database, batch, 0), "it is still open"
    assert close(database, batch).state == "running"
    assert not end(database, batch, 1)
    assert end(database, batch, 2, "failed")
    ended = now(database, batch)
    assert (ended.state, ended.ended_at_ms, ended.total) == ("finished", NOW_MS, 3)
    assert ended.expires_at_ms is not None
    assert not end(database, batch, 2), "it ends once"


def test_closing_a_batch_whose_items_have_ended_ends_it(database: Database) -> None:
    batch = filled(database, 1)
    end(database, batch, 0)
    assert close(database, batch).state == "finished"
    assert close(database, batch).state == "finished"
    assert close(database, made(database)).state == "finished", "an empty one, too"


def test_the_last_two_items_that_end_at_once_end_the_batch(database: Database) -> None:
    """On PostgreSQL neither transaction sees the other's item; the second has to wait for the first."""
    for _ in range(5):
        batch = filled(database, 2)
        put(database, batch, "running", 0, 1)
        close(database, batch)
        both = threading.Barrier(2, timeout=30)
        ended: list[bool] = []

        def work(index: int, batch: Batch = batch, both: threading.Barrier = both, ended: list[bool] = ended) -> None:
            both.wait()
            ended.append(end(database, batch, index))

        threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(ended) == [False, True]


def test_a_look_ends_what_nobody_noticed(database: Database) -> None:
    """Whoever wrote the last item may have died before its end was seen."""
    batch = filled(database, 1)
    close(database, batch)
    put(database, batch, "succeeded", 0)
    assert batch_changes.look(database, NOW_MS, DAYS) == 1
    assert now(database, batch).state == "finished"
    assert batch_changes.look(database, NOW_MS, DAYS) == 0


def test_counts_and_cost_are_those_of_the_items(database: Database) -> None:
    batch = filled(database, 6)
    other = filled(database, 4)
    put(database, batch, "succeeded", 0, 1, cost_micro_usd=3_000_000_000)
    put(database, batch, "succeeded", 2)
    put(database, batch, "failed", 3, cost_micro_usd=5, cost_is_estimate=True)
    put(database, batch, "running", 4)
    found = counted(database, batch)
    assert found == Counts(
        queued=1,
        running=1,
        succeeded=3,
        failed=1,
        cost_micro_usd=6_000_000_005,
        unpriced=1,
        cost_is_estimate=True,
    )
    assert (found.ended, found.unfinished, found.all) == (4, 2, 6)
    assert counted(database, other) == Counts(queued=4)


def test_the_counts_are_read_in_the_index_alone(database: Database) -> None:
    """A batch may have a million items, whose rows are large."""
    query = select(jobs.c.state, func.count(), func.sum(jobs.c.cost_micro_usd)).where(jobs.c.batch_id == "b")
    query = query.group_by(jobs.c.state, jobs.c.cost_is_estimate)
    plan = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    with database.write() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        text_of = query.compile(connection.engine, compile_kwargs={"literal_binds": True})
        told = " ".join(str(row) for row in connection.exec_driver_sql(f"{plan} {text_of}"))
    assert "ix_jobs_batch_id_state" in told
    assert "COVERING" in told or not database.is_sqlite


def test_cancelling_ends_what_waits_and_asks_what_runs(database: Database) -> None:
    batch = filled(database, 1_200)
    close(database, batch)
    put(database, batch, "running", 0)
    put(database, batch, "succeeded", 1)
    assert batch_changes.cancel(database, "p", batch.id, NOW_MS, DAYS).state == "running"
    found = counted(database, batch)
    assert (found.cancelled, found.running, found.succeeded) == (1_198, 1, 1)
    with database.read() as connection:
        asked = select(jobs.c.cancel_requested_at_ms).where(jobs.c.id == item_id(batch.id, 0))
        assert connection.scalar(asked) == NOW_MS
        told = select(func.count()).select_from(job_events).where(job_events.c.name == "cancelled")
        assert connection.scalar(told) == 1_198
    assert end(database, batch, 0, "cancelled")
    assert now(database, batch).state == "cancelled"
    assert batch_changes.cancel(database, "p", batch.id, NOW_MS, DAYS).state == "cancelled"


def test_an_open_batch_that_is_cancelled_takes_no_more_and_ends(database: Database) -> None:
    batch = filled(database, 2)
    assert batch_changes.cancel(database, "p", batch.id, NOW_MS, DAYS).state == "cancelled"
    with pytest.raises(Conflict):
        add(database, batch, [text(2)])


def test_a_look_goes_on_with_a_cancellation_whose_process_died(database: Database) -> None:
    batch = filled(database, 3)
    close(database, batch)
    with database.write() as connection:
        connection.execute(update(batch_table).values(cancel_requested_at_ms=NOW_MS))
    assert batch_changes.look(database, NOW_MS, DAYS) == 1
    assert now(database, batch).state == "cancelled"


def test_a_finished_batch_is_not_cancelled(database: Database) -> None:
    batch = filled(database, 1)
    close(database, batch)
    end(database, batch, 0)
    with pytest.raises(JobHasEnded):
        batch_changes.cancel(database, "p", batch.id, NOW_MS, DAYS)


def test_a_retry_does_again_what_failed_but_not_what_was_never_usable(database: Database) -> None:
    batch = made(database)
    bad = Item(3, error=JobError(UNUSABLE_ITEM, "no JSON"))
    add(database, batch, [text(0), text(1), text(2), bad])
    close(database, batch)
    for index, state in enumerate(("succeeded", "failed", "cancelled")):
        end(database, batch, index, state)
    assert now(database, batch).state == "finished"
    assert batch_changes.retry(database, "p", batch.id, NOW_MS, DAYS) == 2
    again = now(database, batch)
    assert (again.state, again.ended_at_ms, again.expires_at_ms) == ("running", None, None)
    found = counted(database, batch)
    assert (found.queued, found.succeeded, found.failed) == (2, 1, 1)
    end(database, batch, 1)
    assert end(database, batch, 2)
    assert batch_changes.retry(database, "p", batch.id, NOW_MS, DAYS) == 0
    assert now(database, batch).state == "finished"


def test_items_that_are_held_wait_until_they_are_let_go(database: Database) -> None:
    batch = filled(database, 2)
    put(database, batch, "running", 0)
    batch_changes.hold(database, batch.id, NOW_MS + 5)
    with database.read() as connection:
        query = select(jobs.c.not_before_ms).where(jobs.c.batch_id == batch.id).order_by(jobs.c.batch_index)
        assert list(connection.execute(query).scalars()) == [None, NOW_MS + 5]
    batch_changes.hold(database, batch.id, None)
    with database.read() as connection:
        assert list(connection.execute(query).scalars()) == [None, None]


def test_a_deleted_batch_leaves_nothing(database: Database) -> None:
    batch = filled(database, 600)
    with pytest.raises(JobNotEnded):
        batch_changes.remove(database, "p", batch.id)
    batch_changes.cancel(database, "p", batch.id, NOW_MS, DAYS)
    batch_changes.remove(database, "p", batch.id)
    with database.read() as connection:
        for table in (jobs, batch_table, *PARTS):
            assert connection.scalar(select(func.count()).select_from(table)) == 0


def test_the_same_key_gives_the_first_batch_and_another_request_is_refused(database: Database) -> None:
    first = made(database, "once")
    assert made(database, "once") == first
    assert made(database, "twice") != first
    assert made(database) != made(database)
    with pytest.raises(IdempotencyConflict):
        made(database, "once", name="another")


def test_another_project_does_not_see_it(database: Database) -> None:
    batch = filled(database, 1)
    attempts: list[Callable[[], object]] = [
        lambda: batch_changes.cancel(database, "q", batch.id, NOW_MS, DAYS),
        lambda: batch_changes.retry(database, "q", batch.id, NOW_MS, DAYS),
        lambda: batch_changes.remove(database, "q", batch.id),
    ]
    for attempt in attempts:
        with pytest.raises(UnknownBatch):
            attempt()
    with pytest.raises(UnknownBatch), database.write() as connection:
        batch_changes.close(connection, "q", batch.id, NOW_MS, DAYS)
    with database.read() as connection:
        assert batches.page(connection, "q", limit=10) == []
        assert batches.page(connection, None, limit=10) == [batch]


def test_pages_go_from_the_newest_to_the_oldest(database: Database) -> None:
    ids = sorted((made(database).id for _ in range(5)), reverse=True)
    with database.read() as connection:
        first = batches.page(connection, "p", limit=3)
        rest = batches.page(connection, "p", limit=3, after=first[-1].id, state="open")
        assert [batch.id for batch in (*first, *rest)] == ids
        assert batches.page(connection, "p", limit=3, state="finished") == []


def test_what_has_ended_is_read_in_order_up_to_the_first_that_has_not(database: Database) -> None:
    batch = filled(database, 6)
    put(database, batch, "succeeded", 0, 1, 3, 4)
    with database.read() as connection:
        assert [job.batch_index for job in batch_items.ended_from(connection, batch.id, 0, 10)] == [0, 1]
        assert [job.batch_index for job in batch_items.ended_from(connection, batch.id, 3, 1)] == [3]
        assert batch_items.ended_from(connection, batch.id, 2, 10) == []
        assert batch_items.ended_from(connection, batch.id, 6, 10) == []


@pytest.mark.parametrize("index", [-1, 2**32])
def test_a_place_is_a_number_of_32_bits(index: int) -> None:
    with pytest.raises(ValueError, match="place"):
        item_id("batch_" + "0" * 32, index)


def test_ids_of_items_differ_between_batches_that_began_at_once(database: Database) -> None:
    first, second = made(database), made(database)
    assert item_id(first.id, 0) != item_id(second.id, 0)
    assert item_id(first.id, 255) < item_id(first.id, 256)
