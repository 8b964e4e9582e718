"""Where log lines go: stderr, the access log as JSON lines, everything else as the settings want it."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Final, TextIO

from waypost.gateway.call_record import current_record
from waypost.server.middleware.request_id import current_request_id
from waypost.settings import Settings
from waypost.telemetry.logs import Cleaner, direct, formatter, secrets_in

OWN = "waypost"
ACCESS = "waypost.access"
# uvicorn's own chatter about starting and stopping is for its command line, not for ours.
FRAMEWORK = ("uvicorn", "uvicorn.error", "asyncio")
IN_JSON: Final = {"level": "info", "logger": ACCESS}
"""What a line of the access log has besides where all lines are JSON, as they have."""


class LineHandler(logging.Handler):
    """Whole lines to a stream. Those of one turn of the event loop are written together, at its end."""

    def __init__(self, stream: TextIO, clean: Cleaner, besides: dict[str, str]) -> None:
        super().__init__()
        self.clean = clean
        self.besides = besides
        """Members of every line."""
        self._stream = stream
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record's message at once."""
        self._lines.append(self.clean(record.getMessage()))
        self.flush()

    def write_soon(self, line: str) -> None:
        """Write a line before the loop waits for anything again."""
        self._lines.append(line)
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()


def configure_logging(settings: Settings) -> None:
    """Set up handlers for a server process. Call it before the server starts, and when the settings are others."""
    form, level, clean = settings.telemetry.logs, settings.server.log_level.upper(), Cleaner(secrets_in(settings))
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(formatter(form, current_ids, clean))
    direct(OWN, lines, level)
    direct(ACCESS, LineHandler(sys.stderr, clean, IN_JSON if form == "json" else {}), level)
    for name in FRAMEWORK:
        direct(name, lines, "WARNING")


def current_ids() -> tuple[str, str]:
    """Those of the request that the running task works for, and of its trace."""
    record = current_record()
    return current_request_id.get(), "" if record is None else record.trace_id
