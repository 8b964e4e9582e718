"""Where a worker's log lines go: stderr, as text, in the servers' format."""

from __future__ import annotations

import logging
import sys

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
OWN = "waypost"
ENGINE = "dbos"


def configure_logging(level: str) -> None:
    """Set up handlers for a worker process. Call it once, before it starts."""
    text = logging.StreamHandler(sys.stderr)
    text.setFormatter(logging.Formatter(TEXT))
    for name, its_level in ((OWN, level.upper()), (ENGINE, "ERROR"), ("asyncio", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers[:] = [text]
        logger.setLevel(its_level)
        logger.propagate = False
