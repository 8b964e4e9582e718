"""Real worker processes that can be killed and frozen, and jobs for them. For tests of durable jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import select

from waypost.jobs import rows
from waypost.jobs.job import Job, NewJob
from waypost.ledger.books import now_ms
from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.store.job_tables import jobs

MODEL = "gpt-5-mini"
ROOT = Path(__file__).parents[2]


def worker_settings(simulator: Simulator, database: Database, **jobs_settings: Any) -> dict[str, Any]:
    """One target, asked once: a crash is not to be covered up by a retry."""
    return {
        "server": {"log_level": "info", "shutdown_grace_s": 5},
        "database_url": database.url.render_as_string(hide_password=False),
        "providers": {"simulated": {"kind": "openai", "api_key": "any", "base_url": simulator.openai_url}},
        "routes": {"default": {"targets": [f"simulated/{MODEL}"], "policy": {"max_attempts": 1, "recover": False}}},
        "jobs": jobs_settings,
    }


@dataclass
class Worker:
    """A worker in a process of its own. Those with one `data` folder are on one machine."""

    folder: Path
    settings: Mapping[str, Any]
    data: str = "data"
    name: str = "worker"
    module: str = "tests.jobs.process"
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All it has said so far."""
        file = self.folder / f"{self.name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def start(self) -> None:
        """Start it, and wait until it takes jobs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{self.name}.yaml"
        file.write_text(yaml.safe_dump({"data_dir": str(self.folder / self.data), **self.settings}))
        command = [sys.executable, "-m", self.module, str(file)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
        said_before = self.log.count("takes jobs")
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)
        until(lambda: self.log.count("takes jobs") > said_before or self.process_ended, 30.0, lambda: self.log)
        assert not self.process_ended, self.log

    @property
    def process_ended(self) -> bool:
        """Has it ended?"""
        return self.process is not None and self.process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP, and wait until it stands still: on a busy machine its threads go on for a while."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait for its orderly end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise


@contextmanager
def workers(*each: Worker) -> Iterator[None]:
    """They run during the block, whatever becomes of them in it."""
    try:
        for worker in each:
            worker.start()
        yield
    finally:
        for worker in each:
            if worker.process is not None and worker.process.poll() is None:
                worker.kill()


def until(is_so: Callable[[], bool], within_s: float, told: Callable[[], object] = lambda: "") -> float:
    """Wait until it is so, and say how many seconds that took."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < within_s, f"not within {within_s} s: {told()}"
        time.sleep(0.02)
    return time.monotonic() - began


def ask(database: Database, count: int = 1, **told: Any) -> list[str]:
    """So many jobs that ask a model; the prompt of each is its number."""
    made = []
    for number in range(count):
        request = {"prompt": f"job {number}"}
        new = NewJob(**{"type": "generate", "project_id": "local", "key_id": "local", "request": request, **told})
        with database.write() as connection:
            made.append(rows.create(connection, database, new, now_ms()).job.id)
    return made


def all_jobs(database: Database) -> Sequence[Job]:
    """Every job, the oldest first."""
    with database.read() as connection:
        found = connection.execute(select(*rows.COLUMNS).order_by(jobs.c.id)).mappings()
        return [Job(**row) for row in found]


def states(database: Database) -> list[str]:
    """How they stand."""
    return [job.state for job in all_jobs(database)]
