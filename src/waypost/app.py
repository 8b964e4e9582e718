"""The composition root: the only place where objects are built from settings."""

from __future__ import annotations

from dataclasses import dataclass, fields

from waypost.gateway.gateway import Gateway
from waypost.gateway.policy import Policy
from waypost.gateway.story import StoryBook
from waypost.manager.routed import RoutedAIService
from waypost.providers.registry import create_providers
from waypost.server.callers import Callers
from waypost.settings import Settings


@dataclass(frozen=True, slots=True)
class Application:
    """Everything one process needs."""

    settings: Settings
    manager: RoutedAIService
    gateway: Gateway
    callers: Callers
    stories: StoryBook

    async def close(self) -> None:
        """Let go of connections and child processes."""
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
    stories = StoryBook(settings.server.explain_records)
    return Application(settings, RoutedAIService(gateway), gateway, Callers(settings.keys), stories)


def _policy(settings: Settings, route: str) -> Policy:
    told = settings.policy(route).model_dump()
    return Policy(**{each.name: told[each.name] for each in fields(Policy)})
