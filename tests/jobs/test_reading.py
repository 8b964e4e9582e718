"""Who reads a job's stream gets the events of one round, in order, or is told why not."""

from __future__ import annotations

import pytest
from tests.jobs.made import make

from waypost.errors import InvalidRequest, ServerBusy
from waypost.jobs import rows
from waypost.jobs.events import append_event
from waypost.jobs.kept import KeptJobs
from waypost.jobs.reading import Cut, Ended, Piece, Restarted, StreamReading, Told
from waypost.jobs.stream import STREAM, Group
from waypost.ledger.threads import DatabaseThreads
from waypost.settings import JobSettings
from waypost.store.database import Database

FIRST = Group(1, 2, 2, [("a", {}), ("b", {}), ("c", {})])
SECOND = Group(2, 7, 7, [("x", {}), ("y", {})])


async def read(database: Database, job_id: str, after: int | None = None) -> list[Piece]:
    threads = DatabaseThreads(lambda: database)
    reading = StreamReading(
        KeptJobs(threads, JobSettings()), threads, job_id, prelude=2, after=after, shuts_down=lambda: True
    )
    pieces: list[Piece] = []
    try:
        restarted = await reading.start()
        pieces += [] if restarted is None else [restarted]
        pieces += [Told(number, ()) for number in reading.unknown_prelude]
        async for piece in reading.pieces():
            pieces.append(piece)
    except ServerBusy:
        pass
    finally:
        threads.close()
    return pieces


def told(pieces: list[Piece]) -> list[str]:
    return [name for piece in pieces if isinstance(piece, Told) for name, _ in piece.events]


def write(database: Database, job_id: str, *groups: Group) -> None:
    with database.write() as connection:
        for group in groups:
            append_event(connection, job_id, STREAM, group.told(), 1)


async def test_a_reader_gets_what_comes_after_its_last_event(database: Database) -> None:
    job_id = make(database).id
    write(database, job_id, FIRST)
    everything = await read(database, job_id)
    assert [piece.number for piece in everything if isinstance(piece, Told)] == [0, 1, 2]
    assert told(everything) == ["a", "b", "c"]
    assert told(await read(database, job_id, after=3)) == ["c"]
    assert await read(database, job_id, after=4) == []
    with pytest.raises(InvalidRequest):
        await read(database, job_id, after=6)


async def test_who_comes_for_the_beginning_gets_the_newest_round_alone(database: Database) -> None:
    job_id = make(database).id
    write(database, job_id, FIRST, SECOND)
    assert await read(database, job_id) == [Told(7, SECOND.events)]
    assert await read(database, job_id, after=6) == [Told(7, SECOND.events)]
    assert told(await read(database, job_id, after=7)) == ["y"]


async def test_who_has_events_of_a_void_round_is_told_so_first(database: Database) -> None:
    job_id = make(database).id
    write(database, job_id, FIRST, SECOND)
    for after in (0, 3, 4):
        assert await read(database, job_id, after=after) == [Restarted(6), Told(7, SECOND.events)]


async def test_a_stream_that_was_cut_ends_there(database: Database) -> None:
    job_id = make(database).id
    write(database, job_id, FIRST, Group(1, 2, 5, (), is_cut=True))
    assert (await read(database, job_id))[-1] == Cut(5)


async def test_the_end_is_told_after_the_last_event_and_not_that_of_an_earlier_try(database: Database) -> None:
    job_id = make(database).id
    write(database, job_id, FIRST)
    with database.write() as connection:
        rows.cancel(connection, None, job_id, 2)
    ended = (await read(database, job_id))[-1]
    assert isinstance(ended, Ended)
    assert (ended.number, ended.job.state) == (5, "cancelled")
    with database.write() as connection:
        rows.retry(connection, None, job_id, 3)
    assert not any(isinstance(piece, Ended) for piece in await read(database, job_id))
