"""What the library face calls a provider: text in, text out. Anyone may write one.

`ModelProvider` is ours: it puts this face on any provider of the gateway.
"""

from __future__ import annotations

import inspect
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

from waypost.chat import Event, Finish, PartDelta, PartEnd, PartStart, ResponseStart, Text
from waypost.manager.arguments import to_request
from waypost.manager.response import AIResponse, to_ai_response
from waypost.providers.answers import AnswerStream
from waypost.providers.asked import Asked
from waypost.providers.provider import Provider, ProviderState


class AIServiceProvider(ABC):
    """A source of answers. Subclass it with the two methods; the rest has defaults.

    Keyword arguments are those of a request: model, max_tokens, system, temperature, tools, messages and more
    (`waypost.manager.arguments.NAMES`).
    """

    default_model: str | None = None
    """What it asks when no model is named; None: not known."""
    slow_start = False
    """May its first token take long? Then a stream is waited for more patiently."""

    @abstractmethod
    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        """The whole answer. Whatever it raises makes the manager try the next provider."""

    @abstractmethod
    def stream_response(self, prompt: str, **kwargs: Any) -> AsyncIterator[str]:
        """The answer's text, piece by piece; most easily an `async def` with `yield`."""

    def stream_events(self, prompt: str, **kwargs: Any) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """The answer as events; here made from `stream_response`."""
        return text_as_events(self.stream_response(prompt, **kwargs), model=kwargs.get("model") or "")

    def serves(self, model: str) -> bool | None:  # noqa: ARG002 - the default does not look at it
        """Does it have a model of that name? None: unknown, so it is asked."""
        return None

    def state(self) -> ProviderState:
        """How it is, from what is known now."""
        return ProviderState("ready")

    async def close(self) -> None:
        """Let go of connections and processes."""
        return


class ModelProvider(AIServiceProvider):
    """The library face of a provider of the gateway."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.default_model = provider.default_model
        self.slow_start = provider.slow_start

    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        """The whole answer. Raises InvalidRequest or ProviderError."""
        request = to_request(prompt, kwargs, default_model=self._provider.default_model)
        answer = await self._provider.generate(Asked.of(request), request.model)
        return to_ai_response(answer.response, self._provider.name)

    async def stream_response(self, prompt: str, **kwargs: Any) -> AsyncGenerator[str]:
        """The answer's text. Raises as `generate_response` does, also in the middle."""
        async with self.stream_events(prompt, **kwargs) as events:
            async for event in text_of(events):
                yield event

    @asynccontextmanager
    async def stream_events(self, prompt: str, **kwargs: Any) -> AsyncIterator[AsyncIterator[Event]]:
        """The answer as the provider's own events."""
        request = to_request(prompt, kwargs, default_model=self._provider.default_model)
        async with (
            self._provider.stream(Asked.of(request, stream=True), request.model) as stream,
            aclosing(_events_of(stream)) as events,
        ):
            yield events

    def serves(self, model: str) -> bool | None:
        """Does it have a model of that name? None: unknown."""
        return self._provider.serves(model)

    def state(self) -> ProviderState:
        """How it is, from what is known now."""
        return self._provider.state()

    async def close(self) -> None:
        """Close the connection pool, end the child process."""
        await self._provider.close()


async def _events_of(stream: AnswerStream) -> AsyncGenerator[Event]:
    notes = stream.notes
    async for batch in stream:
        for event in batch.events:
            yield replace(event, notes=notes) if notes and isinstance(event, ResponseStart) else event


async def text_of(events: AsyncIterator[Event]) -> AsyncGenerator[str]:
    """The pieces of Text parts of the first choice."""
    text_parts = set()
    async for event in events:
        if isinstance(event, PartStart) and isinstance(event.part, Text) and event.choice == 0:
            text_parts.add(event.index)
            if event.part.text:
                yield event.part.text
        elif isinstance(event, PartDelta) and event.choice == 0 and event.index in text_parts:
            yield event.text


@asynccontextmanager
async def text_as_events(pieces: Any, *, model: str = "") -> AsyncIterator[AsyncIterator[Event]]:
    """Events around plain text from a foreign provider: an async iterator, or a coroutine that gives one."""
    iterator = await pieces if inspect.isawaitable(pieces) else pieces
    async with aclosing(_text_events(iterator, model)) as events:
        yield events


async def _text_events(pieces: AsyncIterator[str], model: str) -> AsyncGenerator[Event]:
    yield ResponseStart(id=f"resp_{uuid.uuid4().hex}", model=model)
    yield PartStart(0, Text(""))
    try:
        async for piece in pieces:
            yield PartDelta(0, piece)
    finally:
        if inspect.isasyncgen(pieces):
            await pieces.aclose()
    yield PartEnd(0)
    yield Finish("stop")
