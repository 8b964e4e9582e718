"""The composition root: the only place where objects are built from settings."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from waypost.gateway.gateway import Gateway
from waypost.gateway.idempotency import IdempotencyStore
from waypost.gateway.policy import Policy
from waypost.gateway.response_cache import ResponseCache
from waypost.gateway.resume import ResumeBuffers
from waypost.gateway.signature_store import SignatureStore
from waypost.gateway.stores import RouteCache, Stores
from waypost.gateway.story import StoryBook
from waypost.manager.routed import RoutedAIService
from waypost.providers.registry import create_providers
from waypost.server.callers import Callers
from waypost.settings import ServerSettings, Settings

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

    async def close(self) -> None:
        """Let go of connections and child processes."""
        self.stores.close()
        await self.manager.close()


def build(settings: Settings) -> Application:
    """Build all of it. No I/O: connections and processes start at first use. Raises ConfigurationError."""
    names = (*settings.routes, *settings.aliases)
    gateway = Gateway(
        create_providers(settings),
        kinds={name: provider.kind for name, provider in settings.providers.items()},
        routes={name: settings.targets(name) for name in names},
        policies={name: _policy(settings, name) for name in names},
        shares={name: settings.shares(name) for name in names},
    )
    return Application(settings, RoutedAIService(gateway), gateway, Callers(settings.keys), stores_of(settings))


def stores_of(settings: Settings) -> Stores:
    """What a process with these settings keeps from one request to another."""
    server = settings.server
    return Stores(
        idempotency=_idempotency(server),
        streams=_streams(server),
        signatures=SignatureStore(MOST_SIGNED_CALLS, SIGNED_CALLS_BYTES),
        caches=_caches(settings),
        stories=StoryBook(server.explain_records),
    )


def _idempotency(server: ServerSettings) -> IdempotencyStore | None:
    if not (server.idempotency_ttl_s and server.idempotency_buffer_bytes):
        return None
    return IdempotencyStore(server.idempotency_ttl_s, server.idempotency_buffer_bytes)


def _streams(server: ServerSettings) -> ResumeBuffers | None:
    size_bytes = server.resume_buffer_bytes
    if not (server.resume_grace_s and size_bytes):
        return None
    return ResumeBuffers(server.resume_grace_s, size_bytes, size_bytes // STREAMS_AT_LEAST)


def _caches(settings: Settings) -> dict[str, RouteCache]:
    caches = {
        name: RouteCache(name, route.cache.ttl_s, ResponseCache(route.cache.max_bytes))
        for name, route in settings.routes.items()
        if route.cache is not None
    }
    for alias in settings.aliases:
        route = alias
        while route in settings.aliases:
            route = settings.aliases[route]
        if route in caches:
            caches[alias] = caches[route]
    return caches


def _policy(settings: Settings, route: str) -> Policy:
    told = settings.policy(route).model_dump()
    return Policy(**{each.name: told[each.name] for each in fields(Policy)})
