"""One JSON line a request, written when it ends, and a warning for each call to a provider that failed.

Never a query, a header, a body or an error's text: they may hold secrets.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from starlette.types import Message, Scope, Send

from waypost.errors import AllTargetsFailed, Attempt, RequestError, ServerBusy, WaypostError
from waypost.gateway import story
from waypost.gateway.call_record import CallRecord, RequestEnd
from waypost.gateway.facts import Over, tell_when_over
from waypost.server.application import ServedApplication
from waypost.server.callers import caller_of
from waypost.server.disconnect import pass_on_of
from waypost.server.doors.limits import Headers
from waypost.server.doors.table import door_name
from waypost.server.envelope import FOREIGN_CODE
from waypost.server.jsonwire import json_bytes
from waypost.server.logs import LineHandler
from waypost.server.middleware.request_id import HEADER, request_id_of
from waypost.telemetry.logs import FACTS

logger = logging.getLogger("waypost.access")
failures = logging.getLogger("waypost.server")
ID_HEADER: Final = HEADER.encode()
LONGEST_PATH = 500
LONGEST_NAME = 200
MOST_KEPT_BYTES: Final = 256 * 1024
"""Of a reply that is to be kept; what is stored of it is shorter still."""
CALLERS_OWN: Final = ("path", "model")
"""Members that callers write."""
NO_REPLY = 499
"""Logged where the caller went away before a status was sent; nginx's custom."""

Outcome: TypeAlias = Literal["completed", "failed", "client_left"]
OUTCOMES: Final[Mapping[Outcome, story.Outcome]] = {
    "completed": "answered",
    "failed": "failed",
    "client_left": "caller_left",
}
"""The words of the log, and those of a request's story."""


class Reply:
    """`send` that gives the reply its id, and notes the status and whether the reply's last byte was sent.

    `completed` completes the reply's headers.
    """

    __slots__ = ("_completed", "_id_header", "_pass_on", "_record", "_send", "complete", "kept", "status")

    def __init__(
        self, send: Send, request_id: str, record: CallRecord, completed: Callable[[Headers], Headers]
    ) -> None:
        self._completed = completed
        self.status = NO_REPLY
        self.kept: bytearray | None = None
        """The reply's body, where it is to be kept: its beginning, if it is long."""
        self._record = record
        self.complete = False
        self._send = send
        self._pass_on = pass_on_of(send)
        self._id_header = (ID_HEADER, request_id.encode())

    @property
    def started(self) -> bool:
        """Has a status been sent?"""
        return self.status != NO_REPLY

    def pass_on(self, body: bytes) -> bool:
        """See `Cycle.pass_on`. Where the reply is kept, it goes the way of messages."""
        return self.kept is None and self._pass_on is not None and self._pass_on(body)

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send it. No coroutine of its own: a stream comes through here with each event."""
        if message["type"] == "http.response.body":
            self.complete = not message.get("more_body", False)
            if self.kept is not None and len(self.kept) < MOST_KEPT_BYTES:
                self.kept += message.get("body", b"")
        elif message["type"] == "http.response.start":
            self.status = message["status"]
            entry = self._record.entry
            if entry is not None and entry.request_body is not None:
                self.kept = bytearray()
            headers = self._completed([*message.get("headers", ()), self._id_header])
            message = {**message, "headers": headers}
        return self._send(message)


class AccessLog:
    """Logs method, path, status, outcome and what was called to the logger "waypost.access"."""

    def __init__(self, served: ServedApplication) -> None:
        self._served = served

    def tell(self, scope: Scope, reply: Reply, record: CallRecord, duration_s: float) -> None:
        """The request is over."""
        for attempt in record.failures():
            # What is refused here, such as for a budget, was never sent: the request's own line says it.
            if not isinstance(attempt.error, RequestError | ServerBusy):
                failure = _failure(attempt, request_id_of(scope))
                failures.warning("attempt failed: %s", json.dumps(failure), extra={FACTS: failure})
        duration_ms = round(duration_s * 1000, 1)
        if record.asked_model is not None:
            self._remember(scope, reply, record, round(duration_ms))
        if logger.isEnabledFor(logging.INFO):
            _write(_line(scope, reply, record, duration_ms))
        observers = self._served.observers
        if observers.any:
            status = None if reply.status == NO_REPLY else reply.status
            outcome = OUTCOMES[_outcome(reply, record)]
            over = Over(door_name(scope), scope["method"], outcome, status, duration_s)
            tell_when_over(record, over, observers)

    def _remember(self, scope: Scope, reply: Reply, record: CallRecord, duration_ms: int) -> None:
        """The request's story, for `explain`."""
        request_id = request_id_of(scope)
        status = None if reply.status == NO_REPLY else reply.status
        end = RequestEnd(request_id, OUTCOMES[_outcome(reply, record)], status, duration_ms)
        record.write_end(end)
        if reply.kept is not None and record.entry is not None and record.books is not None:
            record.books.keep(record.entry, bytes(reply.kept))
        self._served.stores.stories.add(request_id, caller_of(scope).name, record.settled(end))


def _written_time(now_s: float) -> str:
    """ISO 8601 with milliseconds, in UTC."""
    seconds, thousandths = divmod(int(now_s * 1000), 1000)
    return f"{_written_second(seconds)}.{thousandths:03d}+00:00"


@lru_cache(maxsize=4)
def _written_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _write(line: dict[str, Any]) -> None:
    """To the server's own handler without the making of a record, which takes longer than the line."""
    handler = logger.handlers[0] if len(logger.handlers) == 1 and not logger.propagate else None
    if isinstance(handler, LineHandler):
        # A key may have got there by mistake: all other members are ours, or names that the settings know.
        for name in CALLERS_OWN:
            if name in line:
                line[name] = handler.clean.short(line[name])
        handler.write_soon(json_bytes({**line, **handler.besides}).decode())
    else:
        logger.info("%s", json_bytes(line).decode())


def _line(scope: Scope, reply: Reply, record: CallRecord, duration_ms: float) -> dict[str, Any]:
    asked = {
        "provider": record.provider,
        "model": _shown(record.model),
        "attempts": len(record.attempts),
        "cache": record.cache,
        "replayed": record.replayed,
        "warnings": [note[:LONGEST_NAME] for note in record.notes],
        "error_code": None if record.error is None else code_of(record.error),
        "trace_id": record.trace_id,
    }
    return {
        "time": _written_time(time.time()),
        "method": scope["method"],
        "path": scope["path"][:LONGEST_PATH],
        "status": reply.status,
        "outcome": _outcome(reply, record),
        "duration_ms": duration_ms,
        "request_id": request_id_of(scope),
        # Most requests (pages, probes) call nobody and do not fail: their lines stay short.
        **{name: value for name, value in asked.items() if value},
    }


def _outcome(reply: Reply, record: CallRecord) -> Outcome:
    if reply.status == NO_REPLY:
        return "client_left"
    if record.error is not None or reply.status >= 400:
        return "failed"
    return "completed" if reply.complete else "client_left"


def _failure(attempt: Attempt, request_id: str) -> dict[str, Any]:
    return {
        "provider": attempt.provider,
        "model": _shown(attempt.model),
        "code": code_of(attempt.error, FOREIGN_CODE),
        "duration_ms": attempt.duration_ms,
        "request_id": request_id,
    }


def code_of(error: Exception | None, foreign: str = WaypostError.code) -> str:
    """The code that the caller was told; `foreign` stands for an exception that is not ours."""
    if isinstance(error, AllTargetsFailed):
        error = error.common or error
    return error.code if isinstance(error, WaypostError) else foreign


def _shown(name: str | None) -> str | None:
    """Callers write this: it may be of any length."""
    return name if name is None else name[:LONGEST_NAME]
