"""uvicorn's HTTP protocol with limits on a request's head, and our envelope where there is no request yet to route.

A head (request line and headers) is bounded in size and in time. The time begins with the connection, with the first
byte after an answer, or with the answer if the request's body has not all come. A quiet kept-alive connection is
uvicorn's own to close.
"""

from __future__ import annotations

from asyncio import Event, TimerHandle, Transport
from http import HTTPStatus
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from waypost.errors import InvalidRequest
from waypost.server.cycle import Cycle
from waypost.server.disconnect import CONNECTION
from waypost.server.envelope import envelope
from waypost.server.ids import new_request_id
from waypost.server.jsonwire import json_bytes
from waypost.transport.gathered import GatheredWrites

MAX_URL_BYTES = 16 * 1024
"""RFC 9110, 4.1, wants 8000 at least."""
MAX_HEAD_BYTES = 64 * 1024
HEAD_S = 20.0
"""Longest time for a head."""


class BadHead(InvalidRequest):
    """A head over a limit. HTTP has a status of its own for each."""

    def __init__(self, status: HTTPStatus, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.http_status = status


def long_url() -> BadHead:
    """The address is over its limit."""
    return BadHead(
        HTTPStatus.REQUEST_URI_TOO_LONG,
        f"The request's path and query are over the limit of {MAX_URL_BYTES} bytes.",
        "Send long values in the body.",
    )


def large_head() -> BadHead:
    """The headers are over their limit."""
    return BadHead(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"The request's headers are over the limit of {MAX_HEAD_BYTES} bytes.",
        "Send fewer or shorter headers.",
    )


def late_head() -> BadHead:
    """The head did not come in time."""
    return BadHead(
        HTTPStatus.REQUEST_TIMEOUT,
        f"The request's headers were not complete within {HEAD_S:g} s.",
        "End them with an empty line.",
    )


class EnvelopeProtocol(HttpToolsProtocol):
    """Answers bad heads with JSON and closes the connection, as uvicorn does with plain text."""

    _in_head = False
    _in_body = False
    _head_bytes = 0
    """What the parser has told of this head."""
    _untold_bytes = 0
    """What came since this head began; the parser tells a header only when it has all of it."""
    _refusal: InvalidRequest | None = None
    _head_timer: TimerHandle | None = None
    _quiet_since: float | None = None
    """When the last answer ended, by the loop's clock; None: something has come since."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """The first head is awaited from now on."""
        super().connection_made(GatheredWrites(transport))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._head_came()
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        if isinstance(self.cycle, Cycle) and not self.cycle.response_complete:
            self.cycle.disconnect()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; look after heads that it does not tell about yet."""
        if self.transport.is_closing():
            return
        began_before = self._in_head
        super().data_received(data)
        if self._in_head and began_before:
            self._untold_bytes += len(data)
            if self._untold_bytes > MAX_HEAD_BYTES:
                self._refuse(large_head())
        # uvicorn stops its keep-alive timer at any byte, one before a request (an empty line) too.
        if self._in_head or not (self._in_body or self._answering()):
            self._await_head()

    def on_message_begin(self) -> None:
        """Called at the first byte of a request."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._untold_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Called with each piece of the address."""
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._give_up(long_url())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called with each complete header."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._give_up(large_head())
        # As uvicorn's own: a call less for each header.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head has come; the body is next."""
        self._in_head, self._in_body = False, True
        self._head_came()
        address = httptools.parse_url(self.url)
        path = address.path.decode("ascii")
        version = self.parser.get_http_version()
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["raw_path"] = address.path
        self.scope["query_string"] = address.query or b""
        self._begin_cycle(keep_alive=version != "1.0" and self.parser.should_keep_alive())

    def _begin_cycle(self, *, keep_alive: bool) -> None:
        """As uvicorn's, with our cycle, which is in the scope too."""
        before: RequestResponseCycle | None = self.cycle
        cycle = self.cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        self.scope["extensions"] = {CONNECTION: cycle}  # type: ignore[dict-item]
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            # A pipelined request waits for the answer to the one before it.
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_message_complete(self) -> None:
        """The body has come."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Answered. A refused body may still be coming, but not for ever."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._rest()
        if self._in_body:
            self._await_head()

    def _rest(self) -> None:
        """As uvicorn's keep-alive timer, but one for many requests: it looks again when it rings too early."""
        self._quiet_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._look_whether_quiet)

    def _unset_keepalive_if_required(self) -> None:
        """Called by uvicorn when something has come."""
        self._quiet_since = None

    def _look_whether_quiet(self) -> None:
        self.timeout_keep_alive_task = None
        if self._quiet_since is None:
            return
        due = self._quiet_since + self.timeout_keep_alive
        if self.loop.time() < due:
            self.timeout_keep_alive_task = self.loop.call_at(due, self._look_whether_quiet)
        else:
            self.timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn when the parser gives up; `msg` is its sentence, which says nothing more."""
        self.logger.info(msg)
        self._refuse(
            self._refusal
            or InvalidRequest(
                "What came is not a valid HTTP request.", hint="Speak HTTP/1.1 to this port, without TLS."
            )
        )

    def _give_up(self, refusal: InvalidRequest) -> None:
        """Raises, which makes the parser give up; `send_400_response` tells the refusal then."""
        self._refusal = refusal
        raise refusal

    def _refuse(self, error: InvalidRequest) -> None:
        if self.transport.is_closing():
            return
        if not self._within_answer():
            request_id = new_request_id()
            body = json_bytes(envelope(error, request_id))
            head = (
                f"HTTP/1.1 {error.http_status} {HTTPStatus(error.http_status).phrase}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
                f"x-request-id: {request_id}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()

    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _within_answer(self) -> bool:
        """Would what is written now land before, or within, the answer to an earlier request, or this one's?"""
        return self._answering() and (self._in_head or bool(self.pipeline) or self.cycle.response_started)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self._head_is_late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._answering():
            # The next request can wait until this answer, which may take minutes, is over.
            self._await_head()
        elif self._in_head:
            self._refuse(late_head())
        else:
            self.transport.close()
