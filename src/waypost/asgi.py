"""The ASGI application for any server: `uvicorn waypost.asgi:app`.

Importing it reads no settings: they are read when the server starts, or at the first request of a test client.
"""

from __future__ import annotations

from waypost.app import Application, build
from waypost.gateway.gateway import Gateway
from waypost.gateway.stores import Stores
from waypost.manager.service import StreamingAIService
from waypost.server.api import create_app
from waypost.server.callers import Callers
from waypost.server.models import AIRequest, AIResponseModel
from waypost.server.service import get_ai_service
from waypost.settings import Settings, load_settings

__all__ = ["AIRequest", "AIResponseModel", "app", "get_ai_service"]


class FromEnvironment:
    """An application built from waypost.yaml and the environment when it is first needed, and again after its end."""

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._application: Application | None = None

    @property
    def settings(self) -> Settings:
        """The settings. Raises ConfigurationError."""
        if self._settings is None:
            self._settings = load_settings()
        return self._settings

    @property
    def manager(self) -> StreamingAIService:
        """The AI service. Raises ConfigurationError."""
        return self._built().manager

    @property
    def gateway(self) -> Gateway:
        """What every front door asks. Raises ConfigurationError."""
        return self._built().gateway

    @property
    def callers(self) -> Callers:
        """Who may call. Raises ConfigurationError."""
        return self._built().callers

    @property
    def stores(self) -> Stores:
        """What is kept from one request to another. Raises ConfigurationError."""
        return self._built().stores

    async def close(self) -> None:
        """Let go of connections and child processes, and forget the settings."""
        application, self._application, self._settings = self._application, None, None
        if application is not None:
            await application.close()

    def _built(self) -> Application:
        if self._application is None:
            self._application = build(self.settings)
        return self._application


app = create_app(FromEnvironment())
