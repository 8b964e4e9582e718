"""Every route of the front doors. They are not in the OpenAPI page: the vendors' own references describe them."""

from __future__ import annotations

from starlette.routing import Route

from waypost.server.doors.models import get_model, list_models
from waypost.server.doors.serve import endpoint
from waypost.server.doors.table import CALLS


def door_routes() -> list[Route]:
    """Conversations, and the lists of models."""
    return [
        *(Route(path, endpoint(door), methods=["POST"], include_in_schema=False) for path, door in CALLS.items()),
        Route("/v1/models", list_models, methods=["GET"], include_in_schema=False),
        Route("/v1/models/{name:path}", get_model, methods=["GET"], include_in_schema=False),
    ]
