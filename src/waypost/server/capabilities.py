"""GET /v1/capabilities: what each configured target can do, from dated data; null is what is not known."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from waypost.catalogue import CatalogueTarget, capability_table
from waypost.server.application import served_by
from waypost.server.callers import caller_of
from waypost.server.jsonwire import json_bytes

router = APIRouter(tags=["AI"])


@router.get("/v1/capabilities", summary="What can each target do?", operation_id="capabilities")
async def capabilities(request: Request) -> Response:
    """One row for each target of the routes and aliases and each provider's default model that the key may ask for.

    Tools, images, prefill, structured output, context window and more, with prices and the sources of both.
    """
    caller, gateway = caller_of(request.scope), served_by(request).gateway
    routes = gateway.router.routes.items()
    routed = {(each.provider, each.model) for name, targets in routes if caller.may_ask(name) for each in targets}
    targets = [
        CatalogueTarget(provider, kind, model)
        for provider, kind, model in gateway.targets
        if {(provider, model), (provider, None)} & routed or caller.may_ask(f"{provider}/{model}")
    ]
    rows = {"object": "list", "data": capability_table(targets, gateway.prices, at_s=time.time())}
    return Response(json_bytes(rows), media_type="application/json", headers={"cache-control": "no-store"})
