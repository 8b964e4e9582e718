"""GET /v1/capabilities: what each configured target can do, from dated data; null is what is not known."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from waypost.catalogue import CatalogueTarget, capability_table
from waypost.server.application import served_by
from waypost.server.jsonwire import json_bytes

router = APIRouter(tags=["AI"])


@router.get("/v1/capabilities", summary="What can each target do?", operation_id="capabilities")
async def capabilities(request: Request) -> Response:
    """One row for each target of the routes and aliases and each provider's default model.

    Tools, images, prefill, structured output, context window and more, with prices and the sources of both.
    """
    targets = [CatalogueTarget(*each) for each in served_by(request).gateway.targets]
    rows = {"object": "list", "data": capability_table(targets, at_s=time.time())}
    return Response(json_bytes(rows), media_type="application/json", headers={"cache-control": "no-store"})
