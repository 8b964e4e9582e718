"""Where log lines go: stderr, the access log as JSON lines, everything else as text with the request id."""

from __future__ import annotations

import logging
import sys

from waypost.server.middleware.request_id import current_request_id

TEXT = "%(asctime)s %(levelname)s %(name)s%(request)s: %(message)s"
OWN = "waypost"
ACCESS = "waypost.access"
# uvicorn's own chatter about starting and stopping is for its command line, not for ours.
FRAMEWORK = ("uvicorn", "uvicorn.error", "asyncio")


def configure_logging(level: str) -> None:
    """Set up handlers for a server process. Call it once, before the server starts."""
    text = logging.StreamHandler(sys.stderr)
    text.setFormatter(logging.Formatter(TEXT))
    text.addFilter(_add_request_id)
    access = logging.StreamHandler(sys.stderr)
    access.setFormatter(logging.Formatter("%(message)s"))
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
