"""Streams of /api/ai/generate that outlive their connection: begun, gone on with, and ended by their id.

Only the key that began a stream knows it; for everybody else it does not exist. `gateway.resume` says what is kept for
how long, `runs` how a call goes on without its caller; here are the readers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from waypost.errors import UnknownStream
from waypost.gateway.call_record import RequestEnd, current_record
from waypost.gateway.facts import go_on, go_on_no_more
from waypost.gateway.resume import LAST_EVENT_ID, Reading, ResumeBuffers, number_after
from waypost.gateway.story import Outcome
from waypost.server.application import lifecycle_of, served_by
from waypost.server.callers import caller_of
from waypost.server.documentation import CANCEL_REQUEST, CANCEL_RESPONSES, EVENTS_REQUEST, EVENTS_RESPONSES
from waypost.server.generate_background import cancel_stream, events_of, job_of_stream
from waypost.server.ids import new_response_id
from waypost.server.lifecycle import Lifecycle
from waypost.server.live_reply import COMMENT, KEEP_ALIVE_S, LiveReply, Wire
from waypost.server.middleware.request_id import request_id_of
from waypost.server.runs import RESPONSE_ID, Origin, Run, Runs, Stop
from waypost.server.service import AIService
from waypost.server.stream import Call, encode_told, error_event

router = APIRouter(tags=["AI"])
NO_STORE: Final = {"cache-control": "no-store"}


class ReaderReply(LiveReply):
    """The events of a stream from one on. The reader may leave: the stream goes on."""

    def __init__(self, reading: Reading, stream_id: str, *, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        # A lifecycle that does not end: at a shutdown the run says so, by an event.
        super().__init__(Lifecycle(), keep_alive_s=keep_alive_s)
        self.headers[RESPONSE_ID] = stream_id
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises what went wrong before the first bytes."""
        with self._reading:
            await super().__call__(scope, receive, send)

    async def answer(self, wire: Wire) -> None:
        """Pass on what is there, then what comes."""
        async for written in self._reading:
            complete = self._reading.complete
            await wire.send(written, last=complete)
            if complete:
                return
        await wire.send(b"", last=True)

    def broken(self, error: Exception, scope: Scope) -> bytes:
        """The event `error`, without an id: it is not one of the stream's."""
        return encode_told(error_event(error, request_id_of(scope)))


class FirstReply(ReaderReply):
    """The reply to the request that begins a stream: until the first events an error is an ordinary one."""

    def __init__(self, reading: Reading, stream_id: str, run: Run) -> None:
        super().__init__(reading, stream_id)
        self._run = run

    async def answer(self, wire: Wire) -> None:
        """Wait for the first events; a caller who leaves before knows no id to come back with."""
        try:
            await self._run.begun()
        except asyncio.CancelledError:
            self._run.stop.now()
            raise
        await super().answer(wire)


class LaterReply(ReaderReply):
    """The reply to somebody who comes back. It begins at once, so that the silence is one of a stream."""

    async def answer(self, wire: Wire) -> None:
        """Begin, and go on."""
        await wire.send(COMMENT)
        await super().answer(wire)


def begin_stream(
    request: Request, streams: ResumeBuffers, service: AIService, prompt: str, arguments: Mapping[str, Any]
) -> Response:
    """A call that goes on without its caller, and the reply that reads it first. Call it in the event loop."""
    stream_id, tenant, stop = new_response_id(), caller_of(request.scope).name, Stop()
    writer = streams.open(stream_id, tenant, stop.now)
    reading = streams.read(stream_id, tenant)
    call = Call(service, prompt, arguments, stream_id)
    run = Run(call, writer, stop, lifecycle_of(request), _origin(request))
    cast("Runs", request.app.state.runs).start(run)
    return FirstReply(reading, stream_id, run)


def _origin(request: Request) -> Origin:
    """The access log settles the story when the reply ends, which may be long before the stream does."""
    record, stories, began = current_record(), served_by(request).stores.stories, time.monotonic()
    request_id, tenant = request_id_of(request.scope), caller_of(request.scope).name

    if record is not None:
        go_on(record)

    def settle(outcome: Outcome | None) -> None:
        if record is None:
            return
        duration_s = time.monotonic() - began
        if outcome is not None and record.asked_model is not None:
            end = RequestEnd(request_id, outcome, 200, round(duration_s * 1000))
            record.write_end(end)
            stories.add(request_id, tenant, record.settled(end))
        go_on_no_more(record, outcome, duration_s)

    return Origin(request_id, settle)


@router.get(
    "/api/ai/responses/{stream_id}/events",
    summary="Go on with a stream",
    operation_id="resume",
    responses=EVENTS_RESPONSES,
    openapi_extra=EVENTS_REQUEST,
)
async def events(request: Request) -> Response:
    """The events of a stream after the one that `Last-Event-ID` names, or all: what was missed comes at once.

    A stream can be read by several at a time, and goes on for a while when nobody reads it. Its id is in the header
    `x-waypost-response-id` of the first reply, and in `start`. 204: it has ended, and there are no more events.
    """
    stream_id, tenant = request.path_params["stream_id"], caller_of(request.scope).name
    job = await job_of_stream(request, stream_id)
    if job is not None:
        return await events_of(request, job)
    reading = _streams(request).read(stream_id, tenant, number_after(stream_id, request.headers.get(LAST_EVENT_ID)))
    if reading.complete:
        reading.close()
        # Source: WHATWG HTML, 9.2.3: a client that gets 204 does not connect again.
        return Response(status_code=204, headers=NO_STORE)
    return LaterReply(reading, stream_id)


@router.delete(
    "/api/ai/responses/{stream_id}",
    summary="End a stream",
    operation_id="cancel",
    status_code=204,
    response_class=Response,
    responses=CANCEL_RESPONSES,
    openapi_extra=CANCEL_REQUEST,
)
async def cancel(request: Request) -> Response:
    """Cancel the call to the provider at once. Whoever reads the stream gets an `error`; one that has ended stays."""
    job = await job_of_stream(request, request.path_params["stream_id"])
    if job is not None:
        await cancel_stream(request, job)
        return Response(status_code=204, headers=NO_STORE)
    _streams(request).stop(request.path_params["stream_id"], caller_of(request.scope).name)
    return Response(status_code=204, headers=NO_STORE)


def _streams(request: Request) -> ResumeBuffers:
    streams = served_by(request).stores.streams
    if streams is None:
        raise UnknownStream("There is no such stream.", hint="This server keeps no streams. Send the request again.")
    return streams
