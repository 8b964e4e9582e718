"""How the framework's own exceptions, and ours, become replies."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.errors import InvalidRequest, MethodNotAllowed, UnknownPath, WaypostError
from waypost.server.envelope import error_reply, sentence_list
from waypost.server.middleware.access_log import NO_REPLY

NOT_FOUND = 404
METHOD_NOT_ALLOWED = 405
SHOWN = 200


def add_handlers(app: FastAPI) -> None:
    """Register them all."""
    app.add_exception_handler(WaypostError, _told)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ClientDisconnect, _left)


async def _told(request: Request, error: Exception) -> Response:
    return error_reply(error, request.scope)


async def _left(_request: Request, _error: Exception) -> Response:
    """The caller went away within the body: nobody reads this, and the log says so."""
    return Response(status_code=NO_REPLY)


async def _invalid(request: Request, error: Exception) -> Response:
    finding = cast("RequestValidationError", error).errors()[0]
    place = ".".join(str(step) for step in finding["loc"][1:])
    return error_reply(InvalidRequest(f"{place}: {finding['msg']}.", param=place), request.scope)


async def _http(request: Request, error: Exception) -> Response:
    status = cast("HTTPException", error).status_code
    if status == NOT_FOUND:
        return error_reply(_unknown_path(request), request.scope)
    if status == METHOD_NOT_ALLOWED:
        allowed = _allowed_methods(request)
        told = MethodNotAllowed(
            f"{request.url.path[:SHOWN]} does not take {request.method}.",
            hint=f"It takes {sentence_list(allowed, 'and')}.",
        )
        # RFC 9110, 15.5.6: a 405 must name the methods in Allow.
        return error_reply(told, request.scope, headers={"allow": ", ".join(allowed)})
    return error_reply(InvalidRequest(cast("HTTPException", error).detail), request.scope)


def _unknown_path(request: Request) -> UnknownPath:
    path = request.url.path
    known = sorted({route.path for route in _routes(request) if "{" not in route.path})
    guess = difflib.get_close_matches(path, known, n=1, cutoff=0.6)
    hint = f"Did you mean {guess[0]}?" if guess else f"There are {sentence_list(known, 'and')}."
    return UnknownPath(f"There is nothing at {path[:SHOWN]}.", hint=hint)


def _allowed_methods(request: Request) -> list[str]:
    methods = (route.methods or set() for route in _routes(request) if route.path_regex.match(request.url.path))
    return sorted(set().union(*methods))


def _routes(request: Request) -> Sequence[Route]:
    return cast("Sequence[Route]", request.app.state.routes)
