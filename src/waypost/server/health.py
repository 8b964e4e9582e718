"""GET /health: the process lives. GET /ready: it can serve, and how each provider is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from waypost import __version__
from waypost.errors import ServerBusy
from waypost.providers.provider import ProviderState
from waypost.server.application import lifecycle_of, served_by
from waypost.server.callers import Callers
from waypost.server.documentation import PAGE_RESPONSES, json_of
from waypost.server.envelope import envelope
from waypost.server.middleware.draining import RETRY_AFTER_S
from waypost.server.middleware.request_id import request_id_of
from waypost.server.models import HealthModel, ReadyModel
from waypost.server.service import AIService, get_ai_service, provider_states

router = APIRouter(tags=["Health"])
NO_STORE = {"cache-control": "no-store"}


def get_and_head(path: str, **documented: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register for GET, which is documented, and for HEAD, which is the same without the body."""

    def register(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        router.add_api_route(path, endpoint, methods=["GET"], **documented)
        router.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
        return endpoint

    return register


@get_and_head(
    "/health",
    summary="Is the process alive?",
    operation_id="health",
    responses={200: {"description": "It is.", "content": json_of(HealthModel)}, **PAGE_RESPONSES},
)
async def health(request: Request) -> Response:
    """Always 200 while the process runs, also while it drains. Asks no provider."""
    uptime_s = round(lifecycle_of(request).uptime_s, 3)
    return JSONResponse({"status": "ok", "version": __version__, "uptime_s": uptime_s}, headers=NO_STORE)


@get_and_head(
    "/ready",
    summary="Can it serve?",
    operation_id="ready",
    responses={
        200: {"description": "It can.", "content": json_of(ReadyModel)},
        503: {
            "description": "No provider of the default route can answer, no key can be looked up, no call can be "
            "written down, or it drains.",
            "content": json_of(ReadyModel),
        },
        **PAGE_RESPONSES,
    },
)
async def ready(request: Request, service: Annotated[AIService, Depends(get_ai_service)]) -> Response:
    """200 if requests can be served, else 503. The states are what is known now: no provider is asked."""
    callers = served_by(request).callers
    await callers.until_read()
    states = provider_states(service)
    default = default_route(request) if states else frozenset()
    providers = {
        name: {"status": state.status, "detail": state.detail, "default_route": name in default}
        for name, state in states.items()
    }
    ledger = served_by(request).ledger
    refusal = None if ledger is None else ledger.refusal
    objection = _objection(states, default, callers, refusal, draining=lifecycle_of(request).draining)
    known = {"providers": providers, "keys": callers.state, "ledger": _ledger_state(request)}
    if objection is None:
        return JSONResponse({"status": "ready", **known}, headers=NO_STORE)
    status, error = objection
    body = {"status": status, **known, **envelope(error, request_id_of(request.scope))}
    return JSONResponse(body, error.http_status, headers={**NO_STORE, "retry-after": f"{error.retry_after_s:.0f}"})


def default_route(request: Request) -> frozenset[str]:
    """The providers that are asked when a request names no model."""
    settings = served_by(request).settings
    return frozenset(target.provider for target in settings.targets()) if settings.routes else frozenset()


def _ledger_state(request: Request) -> dict[str, str]:
    """In the words of LedgerModel."""
    ledger = served_by(request).ledger
    if ledger is None:
        return {"status": "off", "detail": ""}
    if (refusal := ledger.refusal) is not None:
        return {"status": "refusing", "detail": refusal}
    if (trouble := ledger.trouble) is not None:
        return {"status": "behind", "detail": trouble}
    return {"status": "ready", "detail": ""}


def _objection(
    states: Mapping[str, ProviderState],
    default: frozenset[str],
    callers: Callers,
    refusal: str | None,
    *,
    draining: bool,
) -> tuple[str, ServerBusy] | None:
    if draining:
        return "draining", ServerBusy("The server is shutting down.", retry_after_s=RETRY_AFTER_S)
    if not callers.can_be_known:
        return "unavailable", ServerBusy(
            "Nobody can be let in now: keys are only in the database, and it does not answer.",
            hint="See to the database; the server asks it again by itself.",
            retry_after_s=RETRY_AFTER_S,
        )
    if refusal is not None:
        return "unavailable", ServerBusy(
            f"Calls cannot be written down, so none is made: {refusal}.",
            hint="See to the disk and the database; what was written down before goes into it by itself.",
            retry_after_s=RETRY_AFTER_S,
        )
    asked = [state for name, state in states.items() if name in default]
    if any(state.status != "unavailable" for state in asked) or not states:
        return None
    details = " ".join(state.detail for state in asked if state.detail)
    return "unavailable", ServerBusy(
        "No provider of the default route can answer now.",
        hint=details or "Run: waypost doctor",
        retry_after_s=RETRY_AFTER_S,
    )
