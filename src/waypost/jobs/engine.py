"""DBOS, and nothing else knows it: each run of a job is a workflow of its, so that who has it is settled by its rules.

What is ours is in `jobs` (rows, steps, results); DBOS has one small row for each run, which says who does it. Its
private calls are here and nowhere else, with tests of their own, and its version is pinned. It is imported when it is
launched: 75 MB, and a second and a half. The invariant: a run that was begun is done by exactly one living process, or
by none, and then `recover` gives it to one.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from dbos import DBOS
    from sqlalchemy.engine import URL

APPLICATION: Final = "waypost"
VERSION: Final = "jobs-1"
"""Not the code's: work of another version would never be done. A workflow that changes gets another name instead."""
WORKFLOW: Final = "job.v1"
FILE: Final = "jobs.db"
"""Beside an SQLite database, in the data folder."""
SCHEMA: Final = "dbos"
"""In a PostgreSQL database."""
THREADS: Final = 8
CONNECTIONS: Final = 5
RETIRED_AT_ONCE: Final = 200
HAS_SUBSECONDS: Final = (3, 42)
"""The first SQLite whose `unixepoch` knows them. Source: sqlite.org, Date And Time Functions, history."""
Doing: TypeAlias = Callable[[str, int], Awaitable[None]]
"""Does run `number` of a job. Returns when that run is over, whoever ended it."""
Standing: TypeAlias = Literal["waiting", "under_way", "over"]
logger = logging.getLogger("waypost.jobs")


@dataclass(frozen=True, slots=True)
class Standings:
    """How a run stands in the engine, and who has it."""

    standing: Standing
    executor_id: str | None


def workflow_id(job_id: str, number: int) -> str:
    """What the engine calls a run."""
    return f"{job_id}.{number}"


class Engine:
    """One process's, in the event loop in which it is launched. `url` is the database's, `folder` the data folder."""

    def __init__(self, url: URL, folder: Path, executor_id: str, doing: Doing) -> None:
        self._url = url
        self._folder = folder
        self._executor_id = executor_id
        self._doing = doing
        self._dbos: type[DBOS] | None = None
        self._workflow: Callable[[str, int], Any] | None = None
        self._turn = asyncio.Lock()

    @property
    def is_launched(self) -> bool:
        """Is it there?"""
        return self._workflow is not None

    async def launch(self) -> None:
        """Import it and begin, unless that was done. It may wait for the database. Raises DatabaseError."""
        async with self._turn:
            if self._workflow is None:
                await asyncio.to_thread(self._prepare)
                self._launch()

    def _prepare(self) -> None:
        """What takes long and needs no event loop."""
        import dbos  # noqa: F401 - so that it is there

        if self._url.get_backend_name() == "sqlite":
            use_write_ahead_log(self._folder / FILE)

    def _launch(self) -> None:
        from dbos import DBOS, DBOSPortableJSONSerializer

        logging.getLogger("dbos").addFilter(_is_news)
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": self._address(),
                "dbos_system_schema": SCHEMA,
                "executor_id": self._executor_id,
                "application_version": VERSION,
                # Otherwise what is stored is unpickled: whoever can write to the database could run code here.
                "serializer": DBOSPortableJSONSerializer(),
                "max_executor_threads": THREADS,
                "sys_db_pool_size": CONNECTIONS,
                "db_engine_kwargs": self._connecting(),
                # Its warnings are of a database that is away, again and again: we say so once.
                "log_level": "ERROR",
            }
        )
        # How often a run may be taken over is ours to say: see `recovering`.
        self._workflow = DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)(_workflow_of(self._doing))
        DBOS.listen_queues([])
        try:
            # In the running loop: only then do all workflows run in it, with its connections.
            DBOS.launch()
        except BaseException:
            # Half launched it would not be launched again.
            self._workflow = None
            DBOS.destroy(destroy_registry=True)
            raise
        self._dbos = DBOS

    def _address(self) -> str:
        if self._url.get_backend_name() == "sqlite":
            return f"sqlite:///{(self._folder / FILE).absolute()}"
        return self._url.render_as_string(hide_password=False)

    def _connecting(self) -> dict[str, Any]:
        if self._url.get_backend_name() != "sqlite" or sqlite3.sqlite_version_info >= HAS_SUBSECONDS:
            return {}
        return {"connect_args": {"factory": WithSubseconds}}

    async def begin(self, job_id: str, number: int) -> None:
        """Begin a run in this process. One that was begun before, anywhere, is not begun again."""
        from dbos import SetWorkflowID

        dbos, workflow = self._made()
        with SetWorkflowID(workflow_id(job_id, number)):
            await dbos.start_workflow_async(workflow, job_id, number)

    def recover(self, executor_ids: Sequence[str]) -> None:
        """Give the runs of dead processes to living ones, each to one, however many ask. Blocks."""
        dbos, _ = self._made()
        for executor_id in executor_ids:
            # It logs and leaves what the database refuses at the moment: whoever asks, asks again.
            dbos._recover_pending_workflows([executor_id])  # noqa: SLF001 - there is no public way: pinned, and tested

    def standings(self, runs: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], Standings]:
        """How these runs stand; those that the engine never had are left out. Blocks."""
        by_id = {workflow_id(*run): run for run in runs}
        found = self._list(workflow_ids=list(by_id))
        return {by_id[each.workflow_id]: _standing(each) for each in found if each.workflow_id in by_id}

    def holders(self) -> set[str]:
        """Whose runs are under way, by the engine: perhaps dead processes' as well. Blocks."""
        return {each.executor_id for each in self._list(status="PENDING") if each.executor_id}

    def retire(self, before_iso: str) -> int:
        """Forget runs that were over by then, some at a time; how many there were. Blocks."""
        dbos, _ = self._made()
        over = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
        found = self._list(status=over, completed_before=before_iso, limit=RETIRED_AT_ONCE)
        if found:
            dbos.delete_workflows([each.workflow_id for each in found])
        return len(found)

    async def close(self) -> None:
        """Let go of it: what is under way here must have been ended before."""
        if self._dbos is not None:
            dbos, self._dbos, self._workflow = self._dbos, None, None
            await asyncio.to_thread(lambda: dbos.destroy(destroy_registry=True))
            # It made its own threads the loop's, and has ended them.
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))

    def _list(self, **which: Any) -> list[Any]:
        dbos, _ = self._made()
        return list(dbos.list_workflows(load_input=False, load_output=False, **which))

    def _made(self) -> tuple[type[DBOS], Callable[[str, int], Any]]:
        if self._dbos is None or self._workflow is None:
            raise TypeError("the engine is not launched")
        return self._dbos, self._workflow


class WithSubseconds(sqlite3.Connection):
    """A connection to an older SQLite. DBOS takes a newer one for granted where Python is 3.12 or newer."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.create_function("unixepoch", 1, lambda _: time.time())


def _workflow_of(doing: Doing) -> Callable[[str, int], Any]:
    async def run_job(job_id: str, number: int) -> None:
        await doing(job_id, number)

    return run_job


def _standing(status: Any) -> Standings:
    standings: Mapping[str, Standing] = {"PENDING": "under_way", "ENQUEUED": "waiting", "DELAYED": "waiting"}
    return Standings(standings.get(status.status, "over"), status.executor_id)


def use_write_ahead_log(file: Path) -> None:
    """Switch it on, which stays so in the file: DBOS's own default takes twice as long."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = sqlite3.connect(file, timeout=15)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
    file.chmod(0o600)


def _is_news(record: logging.LogRecord) -> bool:
    """Not what is meant to happen: runs that end with their worker are cancelled."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)
