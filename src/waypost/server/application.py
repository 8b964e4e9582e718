"""What the HTTP front serves, as a protocol: it never imports the composition root that builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.types import Scope

from waypost.gateway.gateway import Gateway
from waypost.gateway.stores import Stores
from waypost.jobs.kept import KeptJobs
from waypost.ledger.ledger import Ledger
from waypost.manager.service import StreamingAIService
from waypost.server.callers import Callers
from waypost.server.lifecycle import Lifecycle
from waypost.settings import Settings
from waypost.store.lazy import LazyDatabase
from waypost.telemetry.metrics.metrics import Metrics
from waypost.telemetry.observers import Observers

if TYPE_CHECKING:
    from waypost.server.serving import Serving


class ServedApplication(Protocol):
    """The built objects of one process. The HTTP front owns it: it calls `close` when it ends."""

    @property
    def settings(self) -> Settings:
        """All settings."""

    @property
    def manager(self) -> StreamingAIService:
        """The AI service."""

    @property
    def gateway(self) -> Gateway:
        """What every front door asks."""

    @property
    def callers(self) -> Callers:
        """Who may call."""

    @property
    def database(self) -> LazyDatabase:
        """Where keys, spend and log are kept."""

    @property
    def stores(self) -> Stores:
        """What is kept in memory from one request to another."""

    @property
    def ledger(self) -> Ledger | None:
        """What is written down of requests; None: nothing is."""

    @property
    def observers(self) -> Observers:
        """Who is told when a request is over, over reloads too."""

    @property
    def metrics(self) -> Metrics | None:
        """What is counted of requests, over reloads too; None: nothing is."""

    @property
    def jobs(self) -> KeptJobs | None:
        """What is done in the background; None: nothing can be."""

    async def close(self) -> None:
        """Let go of connections and child processes."""


def served_in(scope: Scope) -> Serving:
    """What the application serves that this scope was given to: take from it once what a request needs."""
    served: Serving = scope["app"].served
    return served


def lifecycle_in(scope: Scope) -> Lifecycle:
    """The state of the server that this scope was given to."""
    lifecycle: Lifecycle = scope["app"].lifecycle
    return lifecycle


def served_by(request: Request) -> Serving:
    """What the application that got this request serves."""
    return served_in(request.scope)


def lifecycle_of(request: Request) -> Lifecycle:
    """The state of the server that got this request."""
    return lifecycle_in(request.scope)
