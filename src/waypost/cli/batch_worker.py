"""The worker that `waypost batch run` starts for its time, if there is no other: a child that ends with its parent.

As a module it is that child: `waypost worker`, which is told to end, in order, when the other end of its standard
input is closed, however that came about. The invariant: what it does when its parent is killed comes to its end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Final

from waypost.errors import RequestError
from waypost.jobs.lease import alive_executors
from waypost.settings import Settings
from waypost.store.database import Database

LOOK_S: Final = 3.0
"""How often it is looked for workers."""
MOST_STARTS: Final = 5
"""In a row, each of which ended at once."""
SOON_S: Final = 20.0
END_S: Final = 30.0
LOG: Final = "batch-worker.log"


class NoWorker(RequestError):
    """The work cannot be done: the worker does not start."""


class OwnWorker:
    """Sees to it that somebody does the work. `told` gets a line for people."""

    def __init__(self, settings: Settings, config_file: Path | None, concurrency: int | None) -> None:
        self._arguments = ["worker"]
        if config_file is not None:
            self._arguments += ["--config", str(config_file)]
        if concurrency is not None:
            self._arguments += ["--concurrency", str(concurrency)]
        self.log = settings.data_dir / LOG
        self._process: subprocess.Popen[bytes] | None = None
        self._looked_s = -LOOK_S
        self._started_s = 0.0
        self._starts = 0

    @property
    def is_running(self) -> bool:
        """Is there a child?"""
        return self._process is not None and self._process.poll() is None

    def ensure(self, database: Database) -> bool:
        """Start one if nobody is there. True: it was started now. Raises NoWorker."""
        if self.is_running or time.monotonic() - self._looked_s < LOOK_S:
            return False
        self._looked_s = time.monotonic()
        with database.read() as connection:
            if alive_executors(connection):
                return False
        self._start()
        return True

    def _start(self) -> None:
        if time.monotonic() - self._started_s < SOON_S and self._process is not None:
            self._starts += 1
        else:
            self._starts = 1
        if self._starts > MOST_STARTS:
            raise NoWorker(f"The worker ends at once, {MOST_STARTS} times in a row.", hint=f"Its log is {self.log}.")
        self._started_s = time.monotonic()
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own words
                [sys.executable, "-m", "waypost.cli.batch_worker", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the parent, which lets the child end what it does.
                start_new_session=True,
            )

    def end(self, *, at_once: bool = False) -> None:
        """Tell it to end, and wait until it has. `at_once`: it leaves what it does to others."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        if at_once:
            self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            _close(self._process.stdin)


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        stream.close()


def _end_with_parent() -> None:
    """In a thread. The first signal lets what is under way come to its end."""
    # Nothing is ever written there.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """The child."""
    from waypost.cli.main import main as command

    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    command()


if __name__ == "__main__":
    main()
