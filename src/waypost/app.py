"""The composition root: the only place where objects are built from settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from waypost.catalogue.configured import price_book
from waypost.errors import ConfigurationError
from waypost.gateway.configured import by_route, configured_gateway, names_of
from waypost.gateway.gateway import Gateway
from waypost.gateway.idempotency import IdempotencyStore
from waypost.gateway.response_cache import ResponseCache
from waypost.gateway.resume import ResumeBuffers
from waypost.gateway.signature_store import SignatureStore
from waypost.gateway.stores import RouteCache, Stores
from waypost.gateway.story import StoryBook
from waypost.jobs.kept import KeptJobs
from waypost.ledger.durable_answers import DurableAnswers
from waypost.ledger.ledger import ALONE, Company, Ledger
from waypost.ledger.stored_responses import StoredResponses
from waypost.ledger.threads import DatabaseThreads
from waypost.manager.routed import RoutedAIService
from waypost.providers.provider import Provider
from waypost.providers.registry import create_providers
from waypost.server.application import ServedApplication
from waypost.server.callers import Callers
from waypost.server.key_watch import KeyWatch
from waypost.server.serving import Built
from waypost.settings import (
    LedgerSettings,
    LlamaCppSettings,
    LoadedSettings,
    ProviderSettings,
    ServerSettings,
    Settings,
    read_settings,
)
from waypost.settings.server import is_exposed
from waypost.store.lazy import LazyDatabase
from waypost.telemetry.metrics.metrics import Metrics
from waypost.telemetry.observers import NOBODY, Observers
from waypost.telemetry.observing import Observing

logger = logging.getLogger("waypost.server")

MOST_SIGNED_CALLS: Final = 10_000
SIGNED_CALLS_BYTES: Final = 32 * 1024 * 1024
"""Bounds on what one process remembers of the tool calls of models that reason."""
STREAMS_AT_LEAST: Final = 8
"""One resumable stream may fill the eighth part of their memory."""


@dataclass(frozen=True, slots=True)
class Application:
    """Everything one process needs."""

    settings: Settings
    manager: RoutedAIService
    gateway: Gateway
    callers: Callers
    stores: Stores
    database: LazyDatabase
    ledger: Ledger | None
    providers: Mapping[str, Provider] = field(default_factory=dict)
    jobs: KeptJobs | None = None
    observers: Observers = NOBODY
    metrics: Metrics | None = None

    async def close(self) -> None:
        """Let go of connections, child processes and, when all calls are over, the ledger."""
        self.stores.close()
        await self.manager.close()
        if self.ledger is not None:
            await self.ledger.close()
        self.database.close()

    async def close_replaced(self, after: Application) -> None:
        """Close those providers that the application after it has not; one that fails does not keep others open."""
        kept = {id(provider) for provider in after.providers.values()}
        async with AsyncExitStack() as stack:
            for provider in self.providers.values():
                if id(provider) not in kept:
                    stack.push_async_callback(provider.close)


def build(settings: Settings, before: Application | None = None, company: Company = ALONE) -> Application:
    """Build all of it. No I/O: connections and processes start at first use. Raises ConfigurationError.

    What is unchanged since `before` is taken over: providers with their connections, and what is known of targets.
    `company` is who else is at the ledger.
    """
    database = before.database if before else LazyDatabase(settings)
    ledger = before.ledger if before else _ledger(settings, database, company)
    providers = create_providers(settings, _unchanged(settings, before) if before else {})
    gateway = configured_gateway(settings, providers, None if ledger is None else ledger.books)
    watch = before.callers.watch if before else KeyWatch(database)
    callers = Callers(settings.keys, watch, may_open=not is_exposed(settings.server.host))
    if before is not None:
        gateway.take_over(before.gateway)
        callers = before.callers if settings.keys == before.settings.keys else callers
    stores = stores_of(settings, before, database)
    service, jobs = RoutedAIService(gateway), _jobs(settings, stores, before)
    told = Observing(before.observers, before.metrics) if before else Observing.of(settings.telemetry)
    if told.metrics is not None:
        gateway.name_models(told.metrics.models)
    kept = (callers, stores, database, ledger, providers, jobs)
    return Application(settings, service, gateway, *kept, told.observers, told.metrics)


def _jobs(settings: Settings, stores: Stores, before: Application | None) -> KeptJobs | None:
    """Whoever watches jobs goes on watching."""
    if stores.threads is None:
        return None
    return KeptJobs(stores.threads, settings.jobs, before.jobs.watch if before and before.jobs else None)


def _ledger(settings: Settings, database: LazyDatabase, company: Company) -> Ledger | None:
    """One over all reloads: what is configured of it counts from the start."""
    return Ledger(settings, database, price_book(settings), company) if settings.ledger.enabled else None


def _unchanged(settings: Settings, before: Application) -> dict[str, Provider]:
    same = before.settings.providers
    return {
        name: before.providers[name]
        for name, provider in settings.providers.items()
        if name in before.providers and provider == same.get(name) and not _reads_a_file(provider)
    }


def _reads_a_file(provider: ProviderSettings) -> bool:
    """Does its key come from a file, which may hold another one now?"""
    return any(getattr(provider, key, None) is not None for key in ("api_key_file", "credentials_file"))


def stores_of(settings: Settings, before: Application | None = None, database: LazyDatabase | None = None) -> Stores:
    """What a process with these settings keeps from one request to another, some of it in the database if there is one.

    All that was kept before stays, but for the answers of routes that have changed.
    """
    storing = names_of(settings, lambda route: route.provider_storage)
    if before is not None:
        return replace(before.stores, caches=_caches(settings, before), provider_storage=storing)
    server = settings.server
    threads = DatabaseThreads(database.open) if database is not None and settings.ledger.enabled else None
    idempotency = _idempotency(server)
    return Stores(
        idempotency=idempotency,
        streams=_streams(server),
        signatures=SignatureStore(MOST_SIGNED_CALLS, SIGNED_CALLS_BYTES),
        caches=_caches(settings),
        stories=StoryBook(server.explain_records),
        answers=None if threads is None or idempotency is None else _answers(server, threads),
        responses=None if threads is None else _responses(settings.ledger, threads),
        provider_storage=storing,
        threads=threads,
    )


def _answers(server: ServerSettings, threads: DatabaseThreads) -> DurableAnswers:
    return DurableAnswers(threads, server.idempotency_ttl_s, server.idempotency_buffer_bytes)


def _responses(ledger: LedgerSettings, threads: DatabaseThreads) -> StoredResponses | None:
    if ledger.store_responses == "never":
        return None
    return StoredResponses(threads, ledger.responses_days, by_default=ledger.store_responses == "default")


def _idempotency(server: ServerSettings) -> IdempotencyStore | None:
    if not (server.idempotency_ttl_s and server.idempotency_buffer_bytes):
        return None
    return IdempotencyStore(server.idempotency_ttl_s, server.idempotency_buffer_bytes)


def _streams(server: ServerSettings) -> ResumeBuffers | None:
    size_bytes = server.resume_buffer_bytes
    if not (server.resume_grace_s and size_bytes):
        return None
    return ResumeBuffers(server.resume_grace_s, size_bytes, size_bytes // STREAMS_AT_LEAST)


def _caches(settings: Settings, before: Application | None = None) -> dict[str, RouteCache]:
    caches = {}
    for name, route in settings.routes.items():
        kept = before.stores.caches.get(name) if before and before.settings.routes.get(name) == route else None
        if route.cache is not None:
            caches[name] = kept or RouteCache(name, route.cache.ttl_s, ResponseCache(route.cache.max_bytes))
    return {name: caches[route] for name, route in by_route(settings, caches).items()}


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """Implements SettingsSource: the file and the command line's options of the start, read anew each time."""

    path: Path | None = None
    options: Mapping[str, tuple[tuple[str | int, ...], Any]] = field(default_factory=dict)
    company: Company = ALONE

    def read(self) -> LoadedSettings:
        """The settings as they are written now. Raises ConfigurationError."""
        return read_settings(self.path, options=self.options)

    def build(self, settings: Settings, before: ServedApplication | None = None) -> Built:
        """An application, of what is unchanged where there is one before it. Raises ConfigurationError."""
        old = before if isinstance(before, Application) else None
        new = replace(build(without_several_models(settings), old, self.company), settings=settings)
        new.gateway.prices.warm()

        async def close_replaced() -> None:
            if old is not None:
                await old.close_replaced(new)

        return Built(new, close_replaced)


def without_several_models(settings: Settings) -> Settings:
    """With several workers, without the local models: each worker would run one of its own.

    Raises ConfigurationError if a route needs one.
    """
    local = [name for name, provider in settings.providers.items() if isinstance(provider, LlamaCppSettings)]
    if settings.server.workers == 1 or not local:
        return settings
    routed = {target.provider for name in (*settings.routes, *settings.aliases) for target in settings.targets(name)}
    for name in local:
        if name in routed:
            raise ConfigurationError(
                f"A route leads to {name}, which runs a model on this machine: each of the {settings.server.workers} "
                "workers would run one of its own.",
                hint="Set server.workers to 1, or take it out of routes and aliases.",
            )
    logger.warning("%s: not served, because each of the workers would run a model of its own", ", ".join(local))
    others = {name: provider for name, provider in settings.providers.items() if name not in local}
    return settings.model_copy(update={"providers": others})
