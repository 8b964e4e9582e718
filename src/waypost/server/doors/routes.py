"""Every route of the front doors. They are not in the OpenAPI page: the vendors' own references describe them.

Conversations are the hot path: a request that is plainly one goes straight to its door, without a router's search. The
routes are there all the same, for the replies 404 and 405.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Final

from starlette.convertors import StringConvertor, register_url_convertor
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from waypost.server.doors.counts import COUNT_MESSAGES
from waypost.server.doors.gemini import GEMINI
from waypost.server.doors.gemini_call import GeminiCall
from waypost.server.doors.inquiry import InquiryCall
from waypost.server.doors.models import get_model, list_models
from waypost.server.doors.openai_embeddings import OPENAI_EMBEDDINGS
from waypost.server.doors.raw import METHODS, RawDoor
from waypost.server.doors.responses_call import ResponsesCall, ResponsesCountCall
from waypost.server.doors.responses_kept import cancel_response, delete_response, get_response, list_input_items
from waypost.server.doors.serve import DoorCall
from waypost.server.doors.table import CALLS
from waypost.server.middleware.json_only import PASSED_THROUGH

RESPONSES: Final = "/v1/responses"


class ResponseId(StringConvertor):
    """Ids of responses in a path: other words there are names of endpoints, which may not be here."""

    regex = "resp_[^/]+"


register_url_convertor("response", ResponseId())
DOOR_CALLS: Final[Mapping[str, ASGIApp]] = {
    **{path: GeminiCall() if door is GEMINI else DoorCall(door) for path, door in CALLS.items()},
    RESPONSES: ResponsesCall(),
}
INQUIRY_CALLS: Final[Mapping[str, ASGIApp]] = {
    "/v1/embeddings": InquiryCall(OPENAI_EMBEDDINGS),
    "/v1/messages/count_tokens": InquiryCall(COUNT_MESSAGES),
    "/v1/responses/input_tokens": ResponsesCountCall(),
}
PLAIN_CALLS: Final[Mapping[str, ASGIApp]] = {**DOOR_CALLS, **INQUIRY_CALLS}
STORED: Final = f"{RESPONSES}/{{id:response}}"
KEPT_RESPONSES: Final = (
    Route(f"{STORED}", get_response, methods=["GET"], include_in_schema=False),
    Route(f"{STORED}", delete_response, methods=["DELETE"], include_in_schema=False),
    Route(f"{STORED}/input_items", list_input_items, methods=["GET"], include_in_schema=False),
    Route(f"{STORED}/cancel", cancel_response, methods=["POST"], include_in_schema=False),
)
MODEL_LISTS: Final = ("/v1/models", "/v1beta/models")


def door_routes() -> list[Route]:
    """Conversations, embeddings and counts, the lists of models, and what is passed through."""
    return [
        *(Route(path, call, methods=["POST"], include_in_schema=False) for path, call in PLAIN_CALLS.items()),
        *KEPT_RESPONSES,
        *(Route(path, list_models, methods=["GET"], include_in_schema=False) for path in MODEL_LISTS),
        *(Route(f"{path}/{{name:path}}", get_model, methods=["GET"], include_in_schema=False) for path in MODEL_LISTS),
        Route(f"{PASSED_THROUGH}{{name}}/{{path:path}}", RawDoor(), methods=METHODS, include_in_schema=False),
    ]


class Dispatcher:
    """Sends conversations to their doors and everything else to `others`."""

    def __init__(self, others: ASGIApp) -> None:
        self._others = others

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Take one connection of any type. No coroutine: each event of a stream passes all of them."""
        call = PLAIN_CALLS.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        return (call or self._others)(scope, receive, send)
