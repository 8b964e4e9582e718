"""How routes come by the AI service: a dependency, which tests may override."""

from __future__ import annotations

from starlette.requests import Request

from waypost.doors.service import AIService, open_stream, provider_states
from waypost.server.application import served_by

__all__ = ["AIService", "get_ai_service", "open_stream", "provider_states"]


async def get_ai_service(request: Request) -> AIService:
    """The dependency that gives routes their service. Override it in tests: `app.dependency_overrides`."""
    return served_by(request).manager
