"""Where a worker's log lines go: stderr, in the servers' form."""

from __future__ import annotations

import logging
import sys

from waypost.gateway.call_record import current_record
from waypost.settings import Settings
from waypost.telemetry.logs import Cleaner, direct, formatter, secrets_in

OWN = "waypost"
ENGINE = "dbos"


def configure_logging(settings: Settings) -> None:
    """Set up handlers for a worker process. Call it once, before it starts."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(formatter(settings.telemetry.logs, current_ids, Cleaner(secrets_in(settings))))
    for name, its_level in ((OWN, settings.server.log_level.upper()), (ENGINE, "ERROR"), ("asyncio", "WARNING")):
        direct(name, lines, its_level)


def current_ids() -> tuple[str, str]:
    """Those of the call that the running task makes for a job, and of its trace."""
    record = current_record()
    return ("", "") if record is None else (record.request_id, record.trace_id)
