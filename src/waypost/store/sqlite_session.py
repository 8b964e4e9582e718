"""How Waypost talks to SQLite: a write-ahead log, and transactions that say at their begin whether they will write."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL

PATIENT_S: Final = 3600.0
LOG_BYTES: Final = 64 * 1024 * 1024
"""To what size the write-ahead log is cut after it had to grow, as it does while somebody reads for long."""
_OPTION: Final = "waypost_begin"


class _Way(NamedTuple):
    """How a transaction begins."""

    statement: str
    wait_s: float
    read_only: bool = False
    foreign_keys: bool = True


def arguments(_url: URL, busy_s: float) -> dict[str, Any]:
    """What the engine is made with."""
    return {"connect_args": {"timeout": busy_s, "check_same_thread": False}}


def prepare(engine: Engine, busy_s: float, *, durable: bool, idle_s: float | None = None) -> None:  # noqa: ARG001 - nobody can end it
    """See to it that each new connection is set up, and that its transactions begin as `begin` says."""

    @event.listens_for(engine, "connect")
    def _set_up(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own habit of when to begin a transaction is switched off.
        connection.isolation_level = None
        if not connection.execute("PRAGMA page_count").fetchone()[0]:
            # Only a file that is new takes it: pages that are free can then be given back in steps.
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        _use_write_ahead_log(connection, busy_s)
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        way = connection.get_execution_options().get(_OPTION, _Way("BEGIN", wait_s=busy_s))
        driver: Any = connection.connection.driver_connection
        # They stay with the connection for whoever has it next, so each transaction sets them.
        driver.execute(f"PRAGMA query_only={int(way.read_only)}")
        driver.execute(f"PRAGMA busy_timeout={int(way.wait_s * 1000)}")
        driver.execute(f"PRAGMA foreign_keys={int(way.foreign_keys)}")
        connection.exec_driver_sql(way.statement)


def begin(connection: Connection, busy_s: float, *, read_only: bool, patient: bool, schema: bool) -> None:
    """Begin a transaction. `schema`: tables may be dropped without a row that refers to theirs going along."""
    way = _Way(
        "BEGIN" if read_only else "BEGIN IMMEDIATE",
        PATIENT_S if patient else busy_s,
        read_only,
        foreign_keys=not schema,
    )
    connection.execution_options(**{_OPTION: way})
    connection.begin()


def _use_write_ahead_log(connection: sqlite3.Connection, busy_s: float) -> None:
    """It stays switched on in the file. The switch itself does not wait for others, whatever the timeout."""
    end = time.monotonic() + busy_s
    while not _switched(connection, is_last_try=time.monotonic() >= end):
        time.sleep(0.01)


def _switched(connection: sqlite3.Connection, *, is_last_try: bool) -> bool:
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or is_last_try:
            raise
        return False
    return True
