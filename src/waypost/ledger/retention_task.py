"""The thread that has forgotten what has had its time, once an hour in one of the processes that share a database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waypost.ledger.books import now_ms as wall_clock_ms
from waypost.settings import LedgerSettings

if TYPE_CHECKING:
    # They bring SQLAlchemy along, which the thread imports when it needs it.
    from waypost.ledger.upkeep import TaskState
    from waypost.store.database import Database

logger = logging.getLogger("waypost.ledger")

INTERVAL_S: Final = 3600.0
FIRST_S: Final = 30.0
"""After the start, which has other things to do."""
AGAIN_S: Final = 60.0
"""After a run that did not come to its end, or a database that was away."""


@dataclass(frozen=True, slots=True)
class RetentionState:
    """How the task stands in this process. Times are Unix ms."""

    is_running: bool
    next_ms: int | None
    """When it looks again whether a run is due; None: it does not, or is at it."""
    trouble: str | None
    """What kept it from running, such as a database that is away."""


class RetentionTask:
    """`start` begins the thread; `open_database` is called in it, and what it gives is not closed here.

    `settings` are asked for at each run, so that a reload brings others into force.
    """

    def __init__(
        self,
        open_database: Callable[[], Database],
        settings: Callable[[], LedgerSettings],
        *,
        interval_s: float = INTERVAL_S,
        first_s: float = FIRST_S,
        again_s: float = AGAIN_S,
    ) -> None:
        self._open_database = open_database
        self._settings = settings
        self._interval_s = interval_s
        self._first_s = first_s
        self._again_s = again_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._state = RetentionState(is_running=False, next_ms=None, trouble=None)

    @property
    def state(self) -> RetentionState:
        """How it stands now. May be asked in any thread."""
        return self._state

    def start(self) -> None:
        """Begin; what is running goes on as it is."""
        if self._thread is None:
            # A daemon: a database that never answers must not keep the process from ending.
            self._thread = threading.Thread(target=self._work, name="retention", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End soon: after the transaction that it is at. Blocks until then, or for `timeout_s`."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        wait_s = self._first_s
        while not self._waited(wait_s):
            wait_s = self._run()

    def _waited(self, wait_s: float) -> bool:
        """True: it is to end."""
        next_ms = wall_clock_ms() + round(wait_s * 1000)
        self._state = RetentionState(is_running=False, next_ms=next_ms, trouble=self._state.trouble)
        return self._stop.wait(wait_s)

    def _run(self) -> float:
        """Seconds to wait before the next."""
        trouble, wait_s = None, self._again_s
        try:
            wait_s = self._forget()
        except Exception as error:  # noqa: BLE001 - the thread must go on, whatever a database may raise
            trouble = type(error).__name__
            if self._state.trouble != trouble:
                # Not the text, which may repeat what was to be written.
                logger.warning("what has had its time could not be forgotten: %s", trouble)
        self._state = RetentionState(is_running=False, next_ms=None, trouble=trouble)
        return wait_s

    def _forget(self) -> float:
        """Forget, if it is time; seconds until the next time."""
        from waypost.ledger import upkeep
        from waypost.ledger.retention import TASK, run_once

        database, now_ms = self._open_database(), wall_clock_ms()
        last = upkeep.state_of(database, TASK)
        due_ms = self._due_ms(last, now_ms)
        if due_ms > now_ms:
            return min(self._interval_s, (due_ms - now_ms) / 1000)
        self._state = RetentionState(is_running=True, next_ms=None, trouble=self._state.trouble)
        # Unless another process has begun meanwhile.
        not_since_ms = now_ms if last.started_at_ms is None else last.started_at_ms
        report = run_once(database, self._settings(), now_ms, self._stop, not_since_ms=not_since_ms)
        if report is None:
            return self._again_s
        if any(report.deleted.values()):
            told = ", ".join(f"{rows} {table}" for table, rows in report.deleted.items() if rows)
            logger.info("forgotten, for they have had their time: %s", told)
        return self._interval_s if report.is_complete else self._again_s

    def _due_ms(self, last: TaskState, now_ms: int) -> int:
        """When the next run is to begin. One that did not come to its end is gone on with soon."""
        if last.is_running(now_ms):
            return last.held_until_ms or now_ms
        if last.started_at_ms is None or last.ended_at_ms is None or last.ended_at_ms < last.started_at_ms:
            return now_ms
        if not (last.report or {}).get("is_complete", False):
            return last.ended_at_ms + round(self._again_s * 1000)
        return last.started_at_ms + round(self._interval_s * 1000)
