"""For administrators: POST /api/admin/reload reads the settings anew, GET /api/admin/status tells how the server is.

With several workers both reach every one of them. A reload happens in all or in none: each is asked first whether it
could, and only then told to.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from waypost import __version__
from waypost.errors import (
    AuthenticationRequired,
    ConfigurationError,
    DatabaseUnavailable,
    InvalidRequest,
    NotAllowed,
    ServerBusy,
)
from waypost.gateway.overload import Admission
from waypost.jobs.kept import KeptJobs
from waypost.server.admin_models import ReloadModel, StatusModel
from waypost.server.application import ServedApplication, lifecycle_in, served_in
from waypost.server.callers import caller_of
from waypost.server.documentation import PAGE_RESPONSES, error_responses, json_of
from waypost.server.envelope import envelope
from waypost.server.middleware.from_peer import is_from_peer
from waypost.server.middleware.request_id import request_id_of
from waypost.server.peers import PeerGone, Peers
from waypost.server.serving import SettingsRefused

router = APIRouter(tags=["Administration"])
RELOAD: Final = "/api/admin/reload"
STATUS: Final = "/api/admin/status"
NO_STORE: Final = {"cache-control": "no-store"}
_REFUSED: Final = error_responses((AuthenticationRequired, NotAllowed, InvalidRequest, ServerBusy))


class _Unprocessable(ConfigurationError):
    """For the document: the status that a refused reload has."""

    http_status = SettingsRefused.http_status


@router.post(
    RELOAD,
    summary="Read the settings anew",
    operation_id="reload",
    responses={
        200: {"description": "Done; with `dry_run=true`, what would be done.", "content": json_of(ReloadModel)},
        **_REFUSED,
        **error_responses((_Unprocessable,)),
        **PAGE_RESPONSES,
    },
)
async def reload(request: Request) -> Response:
    """Nothing changes unless all of the file is good; `details.findings` lists every problem of one that is not.

    Requests in flight end as they began. With the query `dry_run=true` the file is only checked.
    """
    scope = request.scope
    caller_of(scope).demand_admin()
    dry_run, serving, peers = _dry_run(request), served_in(scope), _peers_of(scope)
    if peers is not None and not dry_run:
        await serving.reload(dry_run=True)
        await _tell_all(peers, scope, f"{RELOAD}?dry_run=true")
        await _tell_all(peers, scope, RELOAD)
    outcome = await serving.reload(dry_run=dry_run)
    return JSONResponse(outcome.fields(), headers=NO_STORE)


@router.get(
    STATUS,
    summary="How is the server?",
    operation_id="status",
    responses={
        200: {"description": "Of every worker.", "content": json_of(StatusModel)},
        **_REFUSED,
        **PAGE_RESPONSES,
    },
)
async def status(request: Request) -> Response:
    """What is known now: no provider is asked."""
    scope = request.scope
    caller_of(scope).demand_admin()
    peers, served = _peers_of(scope), served_in(scope)
    workers = [own_status(scope)]
    if peers is not None:
        workers += [await _status_of(peers, number, scope) for number in peers.others]
        workers.sort(key=lambda worker: int(worker["worker"]))
    file, ledger = served.file, served.ledger
    body = {
        "version": __version__,
        "file": None if file is None else str(file),
        "workers": workers,
        # Of all processes alike: no other worker asks for it.
        "ledger": None if ledger is None or is_from_peer(scope) else await ledger.status.ledger_status(),
        "jobs": None if served.jobs is None or is_from_peer(scope) else await _job_numbers(served.jobs),
    }
    return JSONResponse(body, headers=NO_STORE)


async def _job_numbers(jobs: KeptJobs) -> dict[str, Any] | None:
    """None while the database is away, which the status of the ledger says."""
    try:
        return await jobs.numbers()
    except DatabaseUnavailable:
        return None


def own_status(scope: Scope) -> dict[str, Any]:
    """This process's part of the answer."""
    gateway, lifecycle = served_in(scope).gateway, lifecycle_in(scope)
    peers: Peers | None = scope["app"].state.peers
    admission: Admission = scope["app"].state.admission
    states = gateway.states().items()
    return {
        "worker": 1 if peers is None else peers.own,
        "pid": os.getpid(),
        "uptime_s": round(lifecycle.uptime_s, 3),
        "draining": lifecycle.draining,
        "in_flight": lifecycle.in_flight,
        "loop_lag_s": round(admission.lag_s, 4),
        "providers": {name: {"status": state.status, "detail": state.detail} for name, state in states},
        "breakers": [
            {"provider": provider, "model": model, "circuit": circuit.value}
            for (provider, model), circuit in gateway.board.circuits().items()
        ],
        "allowances": _allowances_told(served_in(scope)),
    }


def _allowances_told(served: ServedApplication) -> dict[str, int] | None:
    spending = None if served.ledger is None else served.ledger.books.spending
    return None if spending is None else asdict(spending.counts)


def _peers_of(scope: Scope) -> Peers | None:
    """The other workers to ask; None if there are none, or one of them asks."""
    peers: Peers | None = scope["app"].state.peers
    return None if is_from_peer(scope) else peers


def _dry_run(request: Request) -> bool:
    text = request.query_params.get("dry_run", "false")
    if text not in ("true", "false"):
        raise InvalidRequest("The query dry_run must be true or false.", param="dry_run")
    return text == "true"


async def _tell_all(peers: Peers, scope: Scope, path: str) -> None:
    """Raises ServerBusy, naming the worker that could not do it and why."""
    for number in peers.others:
        try:
            answered, body = await peers.ask(number, "POST", path, scope)
        except PeerGone:
            answered, body = HTTPStatus.SERVICE_UNAVAILABLE, {"error": {"message": "It does not answer."}}
        if answered != HTTPStatus.OK:
            raise ServerBusy(
                f"Worker {number} did not read the settings anew: {body['error']['message']}",
                hint="Reload again; nothing is lost by it.",
                retry_after_s=1.0,
            )


async def _status_of(peers: Peers, number: int, scope: Scope) -> dict[str, Any]:
    try:
        answered, body = await peers.ask(number, "GET", STATUS, scope)
    except PeerGone:
        gone = ServerBusy(f"Worker {number} does not answer.", hint="It is started anew in a moment.")
        return {"worker": number, **envelope(gone, request_id_of(scope))}
    if answered != HTTPStatus.OK:
        return {"worker": number, **body}
    own: dict[str, Any] = body["workers"][0]
    return own
