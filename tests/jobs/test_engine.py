"""Claims about DBOS that we rely on, its private calls among them: to be seen at once when its version changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import text

from waypost.jobs.engine import FILE, Engine, workflow_id
from waypost.store.address import sqlite_url
from waypost.store.database import Database


@asynccontextmanager
async def launched(
    database: Database, folder: Path, executor_id: str, doing: Callable[[str, int], Awaitable[None]]
) -> AsyncIterator[Engine]:
    engine = Engine(database.url, folder, executor_id, doing)
    await engine.launch()
    try:
        yield engine
    finally:
        await engine.close()


async def over(engine: Engine, job_id: str, number: int) -> None:
    """Wait until the run is over."""
    async with asyncio.timeout(20.0):
        while await _standing(engine, job_id, number) != "over":  # noqa: ASYNC110 - it is told by nobody
            await asyncio.sleep(0.02)


async def test_a_run_is_begun_once_however_often_it_is_asked_for(database: Database, tmp_path: Path) -> None:
    done: list[tuple[str, int]] = []

    async def doing(job_id: str, number: int) -> None:
        done.append((job_id, number))

    async with launched(database, tmp_path, "one", doing) as engine:
        await engine.begin("job", 1)
        await over(engine, "job", 1)
        await engine.begin("job", 1)
        await engine.begin("job", 2)
        await over(engine, "job", 2)
    assert done == [("job", 1), ("job", 2)]


async def test_what_a_dead_process_left_is_begun_by_a_living_one(database: Database, tmp_path: Path) -> None:
    """And by its process again, as another: a name is never used twice."""
    began = asyncio.Event()

    async def stuck(job_id: str, number: int) -> None:
        began.set()
        await asyncio.get_running_loop().create_future()

    async with launched(database, tmp_path, "one", stuck) as engine:
        await engine.begin("job", 1)
        await began.wait()
        assert await asyncio.to_thread(engine.holders) == {"one"}
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    done: list[str] = []

    async def doing(job_id: str, number: int) -> None:
        done.append(workflow_id(job_id, number))

    async with launched(database, tmp_path, "two", doing) as engine:
        assert await _standing(engine, "job", 1) == "under_way"
        for _ in range(2):
            await asyncio.to_thread(engine.recover, ["one"])
        await over(engine, "job", 1)
        assert done == ["job.1"]
        assert await asyncio.to_thread(engine.holders) == set()
        assert await asyncio.to_thread(engine.retire, "2100-01-01T00:00:00+00:00") == 1
        assert await _standing(engine, "job", 1) is None


async def test_nothing_that_is_stored_is_unpickled(database: Database, tmp_path: Path) -> None:
    async def doing(job_id: str, number: int) -> None:
        """Nothing is done."""

    async with launched(database, tmp_path, "one", doing) as engine:
        await engine.begin("job", 1)
        await over(engine, "job", 1)
    own = Database(sqlite_url(tmp_path / FILE)) if database.is_sqlite else database
    table = "workflow_status" if database.is_sqlite else "dbos.workflow_status"
    with own.read() as connection:
        found = connection.execute(text(f"SELECT serialization FROM {table}")).scalars().all()  # noqa: S608 - ours
    if database.is_sqlite:
        own.close()
    assert set(found) == {"portable_json"}


async def _standing(engine: Engine, job_id: str, number: int) -> str | None:
    found = (await asyncio.to_thread(engine.standings, [(job_id, number)])).get((job_id, number))
    return None if found is None else found.standing
