"""POST /api/ai/generate: one endpoint for a whole answer or a stream of events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from waypost.doors.reply import whole_reply
from waypost.gateway.call_record import note_answer
from waypost.server.application import lifecycle_of, served_by
from waypost.server.body import read_body
from waypost.server.callers import caller_of
from waypost.server.disconnect import CallerGone, connection_of, while_connected
from waypost.server.documentation import GENERATE_REQUEST, GENERATE_RESPONSES
from waypost.server.generate_background import begin_in_background
from waypost.server.ids import safe_id
from waypost.server.jsonwire import json_bytes
from waypost.server.middleware.access_log import NO_REPLY
from waypost.server.models import AIRequest
from waypost.server.resume import begin_stream
from waypost.server.service import AIService, get_ai_service
from waypost.server.stream import Call, EventStream

router = APIRouter(tags=["AI"])


async def read_ai_request(request: Request) -> AIRequest:
    """The request's body. Raises InvalidRequest."""
    return await read_body(request, AIRequest)


@router.post(
    "/api/ai/generate",
    summary="Ask a model",
    operation_id="generate",
    responses=GENERATE_RESPONSES,
    openapi_extra=GENERATE_REQUEST,
)
async def generate(
    request: Request,
    asked: Annotated[AIRequest, Depends(read_ai_request)],
    service: Annotated[AIService, Depends(get_ai_service)],
) -> Response:
    """One endpoint for both forms: with `"stream": true` the answer comes as server-sent events while it is written.

    Without a model the default route answers. If a provider fails, the next one of the route is asked; `attempts`
    lists every call. Closing the connection cancels the call to the provider; a stream that has begun goes on for a
    while, and can be gone on with (see `resume`).

    With `"background": true` a job makes the answer, which survives every process: the reply is 202 and says where the
    job is, or with `"stream": true` it is the stream, to be gone on with at any server.
    """
    caller_of(request.scope).demand(asked.model or "")
    if asked.background:
        return await begin_in_background(request, asked)
    prompt, arguments, lifecycle = asked.prompt or "", asked.arguments(), lifecycle_of(request)
    if asked.stream:
        streams = served_by(request).stores.streams
        if streams is not None:
            return begin_stream(request, streams, service, prompt, arguments)
        return EventStream(Call(service, prompt, arguments), lifecycle)
    try:
        response = await while_connected(
            service.generate_response(prompt, **arguments), request.receive, lifecycle, connection_of(request.scope)
        )
    except CallerGone:
        return Response(status_code=NO_REPLY)
    note_answer(response.provider, response.model, response.attempts)
    told = whole_reply(response, safe_id((response.metadata or {}).get("id")))
    return Response(json_bytes(told), media_type="application/json", headers={"cache-control": "no-store"})
