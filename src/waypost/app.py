"""The composition root: the only place where objects are built from settings."""

from __future__ import annotations

from dataclasses import dataclass

from waypost.gateway.policy import Policy
from waypost.gateway.router import ConfiguredProvider, Router
from waypost.manager.provider import ModelProvider
from waypost.manager.routed import RoutedAIService
from waypost.providers.registry import create_providers
from waypost.settings import Settings


@dataclass(frozen=True, slots=True)
class Application:
    """Everything one process needs."""

    settings: Settings
    manager: RoutedAIService

    async def close(self) -> None:
        """Let go of connections and child processes."""
        await self.manager.close()


def build(settings: Settings) -> Application:
    """Build all of it. No I/O: connections and processes start at first use. Raises ConfigurationError."""
    providers = create_providers(settings)
    router = Router(
        {name: ConfiguredProvider(settings.providers[name].kind, provider) for name, provider in providers.items()},
        {name: settings.targets(name) for name in (*settings.routes, *settings.aliases)},
    )
    faces = {name: ModelProvider(provider) for name, provider in providers.items()}
    policies = {name: Policy(**route.policy.model_dump()) for name, route in settings.routes.items()}
    return Application(settings, RoutedAIService(router, faces, policies=policies))
