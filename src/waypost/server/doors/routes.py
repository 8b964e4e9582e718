"""Every route of the front doors. They are not in the OpenAPI page: the vendors' own references describe them.

Conversations are the hot path: a request that is plainly one goes straight to its door, without a router's search. The
routes are there all the same, for the replies 404 and 405.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from waypost.server.doors.models import get_model, list_models
from waypost.server.doors.serve import DoorCall
from waypost.server.doors.table import CALLS

DOOR_CALLS: Final[Mapping[str, DoorCall]] = {path: DoorCall(door) for path, door in CALLS.items()}


def door_routes() -> list[Route]:
    """Conversations, and the lists of models."""
    return [
        *(Route(path, call, methods=["POST"], include_in_schema=False) for path, call in DOOR_CALLS.items()),
        Route("/v1/models", list_models, methods=["GET"], include_in_schema=False),
        Route("/v1/models/{name:path}", get_model, methods=["GET"], include_in_schema=False),
    ]


class Dispatcher:
    """Sends conversations to their doors and everything else to `others`."""

    def __init__(self, others: ASGIApp) -> None:
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of any type."""
        call = DOOR_CALLS.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        await (call or self._others)(scope, receive, send)
