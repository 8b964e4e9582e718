"""`benchmarks/jobs`: one worker, on SQLite and on PostgreSQL, idle and at work. Writes benchmarks/results/jobs.md.

The model is the simulator, which answers at once. CPU time is the worker's, of a core, as the kernel counts it; a busy
machine makes waits longer and rates lower, and hardly changes that.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
from sqlalchemy import select
from tests.databases import postgres_server
from tests.jobs.workers import Worker, ask, states, until, worker_settings, workers

from waypost.simulator import Simulator
from waypost.store.address import sqlite_url
from waypost.store.database import Database
from waypost.store.job_tables import jobs
from waypost.store.migrate import upgrade

IDLE_S = 20.0
ONE_BY_ONE = 30
MANY = 500
RESULTS = Path(__file__).parent / "results" / "jobs.md"
GOALS = {"sqlite": 3.0, "postgresql": 6.0}
"""Per cent of a core while idle."""


@contextmanager
def databases(folder: Path) -> Iterator[list[Database]]:
    """A fresh one of each kind."""
    with postgres_server() as server:
        found = [Database(sqlite_url(folder / "waypost.db")), Database(server.create())]
        for database in found:
            upgrade(database)
        yield found
        for database in found:
            database.close()


def measure(folder: Path, database: Database, simulator: Simulator) -> dict[str, str]:
    """The rows of one database."""
    kind = "sqlite" if database.is_sqlite else "postgresql"
    worker = Worker(folder / kind, worker_settings(simulator, database))
    rows = {}
    with workers(worker):
        assert worker.process is not None
        process = psutil.Process(worker.process.pid)
        time.sleep(3.0)
        rows["idle, no job yet: CPU, % of a core"] = f"{idle(process):.1f}"
        rows["idle, no job yet: RSS, MB"] = f"{megabytes(process):.0f}"
        ask(database)
        until(lambda: states(database) == ["succeeded"], 60.0, lambda: worker.log)
        time.sleep(3.0)
        rows[f"idle, engine launched: CPU, % of a core (goal {GOALS[kind]:g})"] = f"{idle(process):.1f}"
        rows["idle, engine launched: RSS, MB"] = f"{megabytes(process):.0f}"
        for number in range(ONE_BY_ONE):
            ask(database)
            until(lambda done=number + 2: states(database).count("succeeded") == done, 60.0, lambda: worker.log)
        rows["asked to begun, one at a time: p50, ms (goal 400)"] = f"{statistics.median(waits(database)):.0f}"
        rows["asked to begun, one at a time: longest, ms"] = f"{max(waits(database)):.0f}"
        rows.update(at_work(database, process, worker))
        worker.stop()
    return rows


def at_work(database: Database, process: psutil.Process, worker: Worker) -> dict[str, str]:
    """Many jobs at once, 16 under way."""
    before = len(states(database))
    ask(database, MANY)
    began, used = time.monotonic(), cpu_s(process)
    until(lambda: states(database).count("succeeded") == before + MANY, 300.0, lambda: worker.log)
    took_s = time.monotonic() - began
    return {
        "jobs of one call each: jobs/s": f"{MANY / took_s:.0f}",
        "jobs of one call each: CPU, ms a job": f"{(cpu_s(process) - used) / MANY * 1000:.1f}",
        "after them: RSS, MB": f"{megabytes(process):.0f}",
    }


def waits(database: Database) -> list[int]:
    """From being asked for to being begun, of all but the first job, which launches the engine."""
    with database.read() as connection:
        query = select(jobs.c.started_at_ms - jobs.c.created_at_ms).order_by(jobs.c.id).offset(1).limit(ONE_BY_ONE)
        return list(connection.execute(query).scalars())


def idle(process: psutil.Process) -> float:
    """Per cent of a core that it takes while there is nothing to do."""
    used = cpu_s(process)
    time.sleep(IDLE_S)
    return (cpu_s(process) - used) / IDLE_S * 100


def cpu_s(process: psutil.Process) -> float:
    """Seconds on a processor so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def megabytes(process: psutil.Process) -> float:
    """Resident memory."""
    return float(process.memory_info().rss) / 2**20


async def main() -> None:
    """Measure, print, and write the table down."""
    with tempfile.TemporaryDirectory() as name, databases(Path(name)) as each:
        async with Simulator({"rules": [{"reply": {"text": "one two three"}}]}) as simulator:
            tables = [await asyncio.to_thread(measure, Path(name), database, simulator) for database in each]
    load = psutil.getloadavg()[0]
    head = f"# Benchmark of durable jobs\n\n{datetime.now(UTC):%Y-%m-%dT%H:%MZ}, load {load:.1f}, `benchmarks/jobs`.\n"
    lines = [head, "| one worker, 16 jobs at once | SQLite | PostgreSQL |", "| --- | ---: | ---: |"]
    for (label, value), other in zip(tables[0].items(), tables[1].values(), strict=True):
        lines.append(f"| {label.replace('goal 3)', 'goals 3, 6)')} | {value} | {other} |")
    RESULTS.write_text("\n".join(lines) + "\n")
    sys.stdout.write(RESULTS.read_text())


if __name__ == "__main__":
    asyncio.run(main())
