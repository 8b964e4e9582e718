"""The server's AI service: the library's face on the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from waypost.gateway.gateway import Gateway
from waypost.manager.arguments import to_request
from waypost.manager.response import AIResponse, to_ai_response, usd
from waypost.manager.service import AIStream, StreamingAIService, opened_stream
from waypost.providers.asked import Asked
from waypost.providers.provider import ProviderState


class RoutedAIService(StreamingAIService):
    """An AI service whose `model` argument is a route, an alias, `provider/model` or a bare id."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        """The whole answer, by the route's policy. Raises as the manager does, and UnknownModel."""
        served = await self.gateway.generate(Asked.of(to_request(prompt, kwargs)))
        response = to_ai_response(served.response, served.provider)
        response.attempts, response.warnings = served.attempts, served.notes
        response.metadata["cost_usd"] = usd(served.cost_micro_usd)
        return response

    @asynccontextmanager
    async def stream_events(self, prompt: str, **kwargs: Any) -> AsyncIterator[AIStream]:
        """The answer as events, by the route's policy; leaving the block ends the call."""
        asked = Asked.of(to_request(prompt, kwargs), stream=True)
        async with self.gateway.stream(asked) as served, aclosing(served.events()) as events:
            yield await opened_stream(events, served)

    def states(self) -> Mapping[str, ProviderState]:
        """How each provider is, from what is known now."""
        return self.gateway.states()

    async def close(self) -> None:
        """Close every provider."""
        await self.gateway.close()
