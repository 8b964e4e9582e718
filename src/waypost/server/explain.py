"""GET /api/ai/requests/{id}/explain: the story of one request in plain words, for whoever made it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from waypost.errors import UnknownRequest
from waypost.gateway.explain import story_json
from waypost.server.application import served_by
from waypost.server.callers import caller_of
from waypost.server.documentation import error_responses
from waypost.server.jsonwire import json_bytes

router = APIRouter(tags=["AI"])


@router.get(
    "/api/ai/requests/{request_id}/explain",
    summary="What became of a request?",
    operation_id="explain",
    responses=error_responses([UnknownRequest]),
    openapi_extra={
        "parameters": [
            {
                "name": "request_id",
                "in": "path",
                "required": True,
                "description": "The id in the reply's header x-request-id.",
                "schema": {"type": "string"},
            }
        ]
    },
)
async def explain(request: Request) -> Response:
    """Each attempt, why it ended, how long it took and what was tried next; `explanation` says so in sentences.

    The id is the one in the header `x-request-id` of the reply. Only the key that made the request, or an admin's, is
    told. The last requests are remembered (`server.explain_records`); no prompt and no answer is.
    """
    caller, request_id = caller_of(request.scope), request.path_params["request_id"]
    story = served_by(request).stores.stories.find(request_id, caller.name, is_admin=caller.is_admin)
    if story is None:
        raise UnknownRequest(
            f'No request with the id "{request_id[:100]}" is remembered.',
            hint="The id is in the reply's header x-request-id; only the last requests are remembered.",
        )
    return Response(json_bytes(story_json(story)), media_type="application/json", headers={"cache-control": "no-store"})
