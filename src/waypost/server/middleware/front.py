"""What holds for every request, in a row and in one layer. Each rule is a function of its own; the order is here.

One layer, since a dozen of them, each with its own `send`, took as long as the call of a provider. The invariant: every
reply, refusals too, has an id, is in the caller's dialect and is in the log; nothing is read before it is admitted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from waypost.errors import WaypostError
from waypost.gateway.call_record import CallRecord, begin_record, current_record, end_record, note_failure
from waypost.gateway.exchange import Exchange
from waypost.gateway.overload import Admission
from waypost.server.callers import UnknownKey, caller_of
from waypost.server.doors.limits import Headers, no_limit_headers, with_limits
from waypost.server.doors.table import door_at
from waypost.server.envelope import error_reply
from waypost.server.lifecycle import Lifecycle
from waypost.server.middleware.access_log import AccessLog, Reply
from waypost.server.middleware.authenticate import is_open
from waypost.server.middleware.body_limit import BodyLimit
from waypost.server.middleware.boundary import Boundary, told
from waypost.server.middleware.cors import Cors
from waypost.server.middleware.dialect import note_dialect
from waypost.server.middleware.draining import Draining, ShuttingDown
from waypost.server.middleware.headers import header_value, header_values
from waypost.server.middleware.json_only import form_refusal
from waypost.server.middleware.request_id import current_request_id, give_id
from waypost.server.middleware.tags import TAGS, tags_in
from waypost.server.serving import Serving
from waypost.telemetry.trace_context import TRACEPARENT, TRACESTATE, read_context

TRACEPARENT_HEADER: Final = TRACEPARENT.encode()
TRACESTATE_HEADER: Final = TRACESTATE.encode()
Rule: TypeAlias = Callable[[Scope], WaypostError | None]
"""Why a request may not come in; None: it may."""


class Front:
    """`strangers` are the rules about who sends requests at all, `callers` those about who makes them.

    `shares`: do pages of other sites get CORS headers?
    """

    def __init__(
        self,
        app: ASGIApp,
        served: Serving,
        lifecycle: Lifecycle,
        admission: Admission,
        *,
        strangers: Sequence[Rule] = (),
        callers: Sequence[Rule] = (),
        shares: bool = True,
    ) -> None:
        self._app = app
        self._served = served
        self._log = AccessLog(served)
        self._strangers = strangers
        self._callers = callers
        self._cors = Cors(Boundary(self._known), served) if shares else None
        self._draining = Draining(lifecycle, admission, served)
        self._body_limit = BodyLimit(served)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of any type."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = give_id(scope)
        started_at = time.monotonic()
        record, token = begin_record()
        reply = Reply(send, request_id, record, lambda headers: self._with_limits(headers, scope, record))
        record.request_id, record.path = request_id, scope["path"]
        self._begin_trace(scope, record)
        id_token = current_request_id.set(request_id)
        try:
            await self._answer(scope, receive, reply)
        except Exception as error:
            note_failure(error)
            raise
        finally:
            end_record(token)
            self._log.tell(scope, reply, record, time.monotonic() - started_at)
            current_request_id.reset(id_token)

    async def _answer(self, scope: Scope, receive: Receive, reply: Reply) -> None:
        # Before all that may refuse, so that the refusal is in the caller's dialect.
        note_dialect(scope)
        if not self._served.callers.are_read and not is_open(scope["path"]):
            await self._served.callers.until_read()
        # Before anything is done or told; a refused page gets no CORS headers.
        refusal = _refusal(self._strangers, scope)
        if refusal is not None:
            await error_reply(refusal, scope)(scope, receive, reply)
        elif self._cors is not None and header_value(scope, b"origin") is not None:
            # Outside of all else that may answer with an error, so that pages can read it. Only they say an origin.
            await self._cors(scope, receive, reply)
        else:
            try:
                await self._known(scope, receive, reply)
            except Exception as error:
                # Half a reply cannot be mended: the server closes the connection, which tells the caller so.
                if reply.started:
                    raise
                await told(error, scope)(scope, receive, reply)

    async def _known(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Within CORS: a preflight carries no key.
        refusal = _refusal(self._callers, scope)
        if isinstance(refusal, UnknownKey) and await self._served.callers.look_again():
            refusal = _refusal(self._callers, scope)
        if refusal is not None:
            await error_reply(refusal, scope)(scope, receive, send)
            return
        self._note_caller(scope)
        stay = self._draining.enter(scope)
        if isinstance(stay, WaypostError):
            headers = {"connection": "close"} if isinstance(stay, ShuttingDown) else None
            await error_reply(stay, scope, headers=headers)(scope, receive, send)
            return
        try:
            admitted = form_refusal(scope) or self._body_limit.admit(scope, receive)
            if isinstance(admitted, WaypostError):
                await error_reply(admitted, scope)(scope, receive, send)
            else:
                await self._app(scope, admitted, send)
        finally:
            if stay is not None:
                stay.leave()

    def _with_limits(self, headers: Headers, scope: Scope, record: CallRecord) -> Headers:
        """Here and nowhere else, so that kept answers and errors tell the caller's limits as they are now."""
        limits = None if record.account is None else self._served.gateway.rate_limits(record.account)
        if limits is None:
            return headers
        door = door_at(scope)
        return with_limits(headers, limits, no_limit_headers if door is None else door.limit_headers)

    def _begin_trace(self, scope: Scope, record: CallRecord) -> None:
        """The caller's trace goes on here; log lines name it also where nobody traces."""
        parent = header_value(scope, TRACEPARENT_HEADER)
        tracing = self._served.tracing
        if parent is None and tracing is None:
            return
        context = None
        if parent is not None:
            context = read_context(header_values(scope, TRACEPARENT_HEADER), header_values(scope, TRACESTATE_HEADER))
        if tracing is not None:
            record.trace = tracing.begin(context)
            record.trace_id = record.trace.span.trace_id
            if tracing.content and record.trace.span.is_sampled:
                record.exchange = Exchange()
        elif context is not None:
            record.trace_id = context.trace_id

    def _note_caller(self, scope: Scope) -> None:
        """For the ledger: whose request this is, and what he calls it."""
        record = current_record()
        if record is not None:
            record.account = account = caller_of(scope).account
            named = tags_in(header_value(scope, TAGS))
            record.tags = {**account.tags, **(named or {})} if account.tags else named


def _refusal(rules: Sequence[Rule], scope: Scope) -> WaypostError | None:
    for rule in rules:
        refusal = rule(scope)
        if refusal is not None:
            return refusal
    return None
