"""The AI service as the doors use it, and as a test's double may be: one method is enough."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

from waypost.chat import Event
from waypost.errors import Attempt
from waypost.manager.provider import text_as_events
from waypost.manager.response import AIResponse
from waypost.providers.provider import ProviderState


class AIService(Protocol):
    """What the routes need. `stream_events`, `stream_response` and `states` are used where they exist."""

    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        """The whole answer."""


class AnswerStream(Protocol):
    """An answer under way, as `AIServiceManager.stream_events` gives it."""

    @property
    def id(self) -> str:
        """The provider's id for it."""

    @property
    def provider(self) -> str:
        """Who answers."""

    @property
    def model(self) -> str:
        """The model that answers, as the provider names it."""

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All calls so far."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the caller should know."""

    def __aiter__(self) -> AsyncIterator[Event]:
        """Its events; the last is Finish, or it raises."""


def open_stream(
    service: AIService, prompt: str, arguments: Mapping[str, Any]
) -> AbstractAsyncContextManager[AnswerStream]:
    """The answer as events. A service without `stream_events` gives text, or its whole answer in one piece."""
    stream_events = getattr(service, "stream_events", None)
    if stream_events is None or inspect.iscoroutinefunction(stream_events):
        return _foreign_stream(service, prompt, arguments)
    return cast("AbstractAsyncContextManager[AnswerStream]", stream_events(prompt, **arguments))


def provider_states(service: AIService) -> Mapping[str, ProviderState]:
    """How each provider is; empty if the service does not say."""
    states = getattr(service, "states", None)
    answer = states() if states is not None and not inspect.iscoroutinefunction(states) else {}
    return answer if isinstance(answer, Mapping) else {}


@dataclass(slots=True)
class ForeignStream:
    """The stream of a service that gives only text; what it does not say is empty."""

    events: AsyncIterator[Event]
    id: str = ""
    provider: str = ""
    model: str = ""
    attempts: tuple[Attempt, ...] = ()
    warnings: tuple[str, ...] = ()
    answer: AIResponse | None = None
    """The whole answer, where the service gave that."""

    def __aiter__(self) -> AsyncIterator[Event]:
        return self.events


@asynccontextmanager
async def _foreign_stream(
    service: AIService, prompt: str, arguments: Mapping[str, Any]
) -> AsyncIterator[ForeignStream]:
    pieces = await _text_pieces(service, prompt, arguments)
    if pieces is not None:
        async with text_as_events(pieces) as events:
            yield ForeignStream(events, model=arguments.get("model") or "")
        return
    answer = await service.generate_response(prompt, **arguments)
    async with text_as_events(_one_piece(answer.content)) as events:
        yield ForeignStream(
            events,
            id=str((answer.metadata or {}).get("id") or ""),
            provider=answer.provider,
            model=answer.model,
            attempts=answer.attempts,
            warnings=answer.warnings,
            answer=answer,
        )


async def _text_pieces(service: AIService, prompt: str, arguments: Mapping[str, Any]) -> AsyncIterator[str] | None:
    stream_response = getattr(service, "stream_response", None)
    if stream_response is None:
        return None
    pieces = stream_response(prompt, **arguments)
    pieces = await pieces if inspect.isawaitable(pieces) else pieces
    return cast("AsyncIterator[str]", aiter(pieces)) if hasattr(pieces, "__aiter__") else None


async def _one_piece(text: str) -> AsyncGenerator[str]:
    yield text
