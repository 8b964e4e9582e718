"""Puts the HTTP front together: the routes, the middlewares in their order, the end of it all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from waypost import __version__
from waypost.gateway.overload import Admission, LagMeter
from waypost.server import (
    admin,
    admin_audit,
    admin_keys,
    admin_log,
    admin_projects,
    analyze,
    assets,
    batches,
    capabilities,
    explain,
    generate,
    health,
    home,
    jobs,
    metrics,
    resume,
)
from waypost.server.application import ServedApplication
from waypost.server.doors.routes import Dispatcher, door_routes
from waypost.server.handlers import add_handlers
from waypost.server.lifecycle import Lifecycle
from waypost.server.middleware.authenticate import Authenticate
from waypost.server.middleware.from_peer import FromPeer
from waypost.server.middleware.front import Front
from waypost.server.middleware.guard import Guard
from waypost.server.middleware.idempotent import Idempotent
from waypost.server.middleware.pass_on import PassOn
from waypost.server.middleware.plain_start import PlainStart
from waypost.server.peers import Peers
from waypost.server.runs import Runs
from waypost.server.scrapes import Scrapes
from waypost.server.serving import Serving

DESCRIPTION = (
    "One address in front of language models. Every error has the same form: `code`, `message`, `hint` (what to do) "
    "and `request_id`, which is also in the header `x-request-id`."
)

MODULES = (
    generate,
    resume,
    analyze,
    batches,
    jobs,
    explain,
    capabilities,
    health,
    metrics,
    admin,
    admin_projects,
    admin_keys,
    admin_audit,
    admin_log,
    home,
    assets,
)
"""What has routes."""


class WaypostApi(FastAPI):
    """FastAPI with our OpenAPI document, made when it is first asked for, and the front doors beside its router."""

    chain: tuple[Middleware, ...] = ()
    """What holds for every request, from the outside in."""
    peer_chain: tuple[Middleware, ...] = ()
    """What holds for requests that another worker passes on."""
    served: Serving
    lifecycle: Lifecycle
    """What every request asks for: attributes, since Starlette's `state` looks each name up in a dictionary."""
    _inner: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of any type."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        # Not through FastAPI's own, whose telemetry looks at the environment's variables for every request.
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        scope["app"] = self
        await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """The whole application: the chain around the front doors, and around all that FastAPI serves."""
        return _wrapped(self._doors(), self.chain)

    def for_peers(self) -> ASGIApp:
        """The same application for the private socket."""
        stack = _wrapped(self._doors(), self.peer_chain)

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            # As Starlette's own entry does.
            scope["app"] = self
            await stack(scope, receive, send)

        return serve

    def _doors(self) -> ASGIApp:
        if self._inner is None:
            # Starlette's outermost layer answers unexpected errors with plain text; here `Boundary` does.
            self._inner = Dispatcher(cast("ServerErrorMiddleware", super().build_middleware_stack()).app)
        return self._inner

    def openapi(self) -> dict[str, Any]:
        """The document."""
        if self.openapi_schema is None:
            from waypost.server.openapi import openapi_document

            self.openapi_schema = openapi_document(self)
        return self.openapi_schema


def _wrapped(app: ASGIApp, chain: tuple[Middleware, ...]) -> ASGIApp:
    for each in reversed(chain):
        app = each.cls(app, *each.args, **each.kwargs)
    return app


def create_app(
    application: ServedApplication | Serving, peers: Peers | None = None, jobs_socket: Path | None = None
) -> WaypostApi:
    """The ASGI application. It owns `application`: reads its settings at the first request, closes it at the end.

    `peers` are the other workers of this server, if there are any; they are closed with it. `jobs_socket` is
    where the worker that is kept beside it tells its numbers.
    """
    served = application if isinstance(application, Serving) else Serving(application)
    lifecycle, admission, runs = Lifecycle(), Admission(), Runs(served.generations)
    app = WaypostApi(
        title="Waypost",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(served, admission, runs, peers),
    )
    app.served = app.state.served = served
    app.lifecycle = app.state.lifecycle = lifecycle
    app.state.admission = admission
    app.state.peers = peers
    app.state.runs = runs
    app.state.scrapes = Scrapes(served, lifecycle, peers, jobs_socket)
    _add_chains(app, partial(Front, served=served, lifecycle=lifecycle, admission=admission), served, peers)
    add_handlers(app)
    _add_routes(app)
    return app


def _lifespan(
    served: Serving, admission: Admission, runs: Runs, peers: Peers | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What runs from the server's start to its end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Built now, so that wrong settings stop the start and not the first request.
        _built = served.manager
        served.callers.start()
        if served.ledger is not None:
            await served.ledger.start()
        counted = served.metrics
        meter = LagMeter(admission, observe=None if counted is None else counted.lagged)
        meter.start()
        try:
            yield
        finally:
            meter.stop()
            await runs.close()
            await served.callers.stop()
            await served.close()
            if peers is not None:
                await peers.close()

    return lifespan


def _add_chains(app: WaypostApi, front: Callable[..., ASGIApp], served: Serving, peers: Peers | None) -> None:
    """What holds for callers' requests, and for those that another worker passes on."""
    strangers, callers = (Guard(served).refusal,), (Authenticate(served).refusal,)
    # Within all rules: what one of them refuses is not remembered.
    innermost = (Middleware(Idempotent, served=served),)
    app.chain = (
        # The start and end of the server pass here too.
        Middleware(PlainStart),
        Middleware(front, strangers=strangers, callers=callers),
        *(() if peers is None else (Middleware(PassOn, peers=peers),)),
        *innermost,
    )
    if peers is not None:
        # The worker that passes a request on has looked at its origin and its key.
        from_peer = FromPeer(app, served, peers.neighbourhood.token).refusal
        app.peer_chain = (Middleware(front, callers=(from_peer,), shares=False), *innermost)


def _add_routes(app: WaypostApi) -> None:
    """The pages and doors, and the list of them all."""
    for module in MODULES:
        app.include_router(module.router)
    app.router.routes.extend(door_routes())
    # FastAPI keeps the routes of included routers to itself; the replies 404 and 405 name them.
    routes = (*app.routes, *(route for module in MODULES for route in module.router.routes))
    app.state.routes = tuple(route for route in routes if isinstance(route, Route))
