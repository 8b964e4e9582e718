"""GET /metrics: numbers for Prometheus, of all workers of this server. Who may read them, `authenticate` says."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from waypost.errors import AuthenticationRequired, DatabaseUnavailable, NotAllowed, UnknownPath
from waypost.server.application import served_by
from waypost.server.documentation import PAGE_RESPONSES, error_responses
from waypost.server.middleware.authenticate import METRICS
from waypost.server.middleware.from_peer import is_from_peer
from waypost.server.scrapes import Scrapes

router = APIRouter(tags=["Health"])
NO_STORE: Final = {"cache-control": "no-store"}
EXAMPLE: Final = 'waypost_requests_total{door="openai_chat",route="default",outcome="answered"} 42.0'
TOLD: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Prometheus' text format, or OpenMetrics for who asks for that.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": EXAMPLE}},
    },
    **error_responses((AuthenticationRequired, NotAllowed, UnknownPath, DatabaseUnavailable)),
    **PAGE_RESPONSES,
}


@router.get(METRICS, summary="Numbers for Prometheus", operation_id="metrics", responses=TOLD)
async def metrics(request: Request) -> Response:
    """Of all workers of this server together. It takes an admin key, or the token of `telemetry.metrics_token`.

    Without any keys, as on a loopback address, it is open. `telemetry.metrics` says otherwise.
    """
    counted = served_by(request).metrics
    if counted is None:
        raise UnknownPath("This server counts nothing.", hint="Set telemetry.metrics to key, and start it anew.")
    scrapes = cast("Scrapes", request.app.state.scrapes)
    if is_from_peer(request.scope):
        body = msgspec.json.encode(await scrapes.own(counted))
        return Response(body, media_type="application/json", headers=NO_STORE)
    text, content_type = await scrapes.told(counted, request.scope, request.headers.get("accept", ""))
    return Response(text, headers={**NO_STORE, "content-type": content_type})
