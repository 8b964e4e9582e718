"""Where log lines go: stderr, the access log as JSON lines, everything else as text with the request id."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TextIO

from waypost.server.middleware.request_id import current_request_id

TEXT = "%(asctime)s %(levelname)s %(name)s%(request)s: %(message)s"
OWN = "waypost"
ACCESS = "waypost.access"
# uvicorn's own chatter about starting and stopping is for its command line, not for ours.
FRAMEWORK = ("uvicorn", "uvicorn.error", "asyncio")


class LineHandler(logging.Handler):
    """Whole lines to a stream. Those of one turn of the event loop are written together, at its end."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record's message at once."""
        self._lines.append(record.getMessage())
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


def configure_logging(level: str) -> None:
    """Set up handlers for a server process. Call it once, before the server starts."""
    text = logging.StreamHandler(sys.stderr)
    text.setFormatter(logging.Formatter(TEXT))
    text.addFilter(_add_request_id)
    access = LineHandler(sys.stderr)
    _direct(OWN, text, level.upper())
    _direct(ACCESS, access, level.upper())
    for name in FRAMEWORK:
        _direct(name, text, "WARNING")


def _direct(name: str, handler: logging.Handler, level: str) -> None:
    logger = logging.getLogger(name)
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def _add_request_id(record: logging.LogRecord) -> bool:
    request_id = current_request_id.get()
    record.request = f" [{request_id}]" if request_id else ""
    return True
