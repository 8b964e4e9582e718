"""The server's logs, kept by request: the access log's line, and the warning for each call that failed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

RECORD_S = 5.0


class LogKeeper(logging.Handler):
    """Keeps the access log's lines and the warnings about failed calls, by request id."""

    def __init__(self) -> None:
        super().__init__()
        self._records: dict[str, dict[str, Any]] = {}
        self._failures: dict[str, list[dict[str, Any]]] = {}

    @classmethod
    @contextmanager
    def listening(cls) -> Iterator[Self]:
        """One that hears both logs inside the block."""
        keeper = cls()
        loggers = [logging.getLogger(name) for name in ("waypost.access", "waypost.server")]
        levels = [each.level for each in loggers]
        for each in loggers:
            each.addHandler(keeper)
            each.setLevel(logging.INFO)
        try:
            yield keeper
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.removeHandler(keeper)
                each.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the server's thread."""
        message = record.getMessage()
        if record.name == "waypost.access":
            line = json.loads(message)
            self._records[line["request_id"]] = line
        elif message.startswith("attempt failed: "):
            line = json.loads(message.removeprefix("attempt failed: "))
            self._failures.setdefault(line["request_id"], []).append(line)

    async def record_of(self, request_id: str) -> dict[str, Any]:
        """The request's line, which is written just after the reply's last byte."""
        async with asyncio.timeout(RECORD_S):
            while request_id not in self._records:  # noqa: ASYNC110 - written by another thread
                await asyncio.sleep(0.01)
        return self._records[request_id]

    def failures_of(self, request_id: str) -> list[dict[str, Any]]:
        """Its failed calls, in order."""
        return self._failures.get(request_id, [])
