"""How Waypost talks to PostgreSQL: UTC, limits on waiting, and connections that notice when the other side is gone.

The limits are for the sake of others: a process that stands still within a transaction must not hold its locks for
ever. They are set by a statement and not at the connection's start, which connection poolers refuse.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL

STATEMENT_S: Final = 60
IDLE_S: Final = 30
"""How long a transaction may wait for the process that began it."""
_CONNECTING: Final = {
    "application_name": "waypost",
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_PATIENT: Final = (
    "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
)


def arguments(url: URL, _busy_s: float) -> dict[str, Any]:
    """What the engine is made with; what the address says itself comes first."""
    connecting = {name: value for name, value in _CONNECTING.items() if name not in url.query}
    return {"connect_args": connecting, "max_overflow": 0, "pool_pre_ping": True}


def prepare(engine: Engine, busy_s: float, *, durable: bool, idle_s: float | None = None) -> None:  # noqa: ARG001 - it always is
    """See to it that each new connection is set up."""
    limits_s = {
        "lock_timeout": busy_s,
        "statement_timeout": STATEMENT_S,
        "idle_in_transaction_session_timeout": idle_s or IDLE_S,
    }
    limits = [f"SET {name} = {int(limit_s * 1000)}" for name, limit_s in limits_s.items()]
    statement = "; ".join(["SET timezone = 'UTC'", *limits]).encode()

    @event.listens_for(engine, "connect")
    def _set_up(connection: psycopg.Connection[Any], _record: object) -> None:
        connection.autocommit = True
        connection.execute(statement)
        connection.autocommit = False


def begin(connection: Connection, _busy_s: float, *, read_only: bool, patient: bool, schema: bool) -> None:  # noqa: ARG001
    """Begin a transaction; one that only reads sees one state of the database throughout."""
    if read_only:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    else:
        # After a reading transaction SQLAlchemy would have it be "READ WRITE", whatever the server's own mind is.
        driver: Any = connection.connection.driver_connection
        driver.read_only = None
    connection.begin()
    if patient:
        connection.exec_driver_sql(_PATIENT)
