"""Several providers as one: the primary first, then the others, until one answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

from waypost.chat import Event, ResponseStart, is_token
from waypost.errors import Attempt
from waypost.gateway.candidate import Candidate
from waypost.gateway.fallback import first_answer, first_stream
from waypost.gateway.schedule import Schedule
from waypost.manager.provider import AIServiceProvider, text_as_events, text_of
from waypost.manager.response import AIResponse, usd
from waypost.providers.provider import ProviderState

ServiceCandidate: TypeAlias = Candidate[AIServiceProvider]


class AIStream:
    """An answer under way: who gives it, and its events. Iterate it once; the last event is Finish, or it raises."""

    def __init__(self, start: ResponseStart, rest: AsyncIterator[Event], about: About) -> None:
        self.id = start.id
        self.provider = about.provider
        self.warnings = (*about.notes, *start.notes)
        self._start = start
        self._rest = rest
        self._about = about

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All calls so far: a stream that breaks may go on by another one."""
        return self._about.attempts

    @property
    def model(self) -> str:
        """The model that answers, as the provider names it."""
        return self._start.model or (self.attempts[-1].model if self.attempts else None) or ""

    @property
    def cost_usd(self) -> float | None:
        """What it cost so far, in US dollars; None: not known."""
        return usd(self._about.cost_micro_usd)

    async def __aiter__(self) -> AsyncIterator[Event]:
        yield self._start
        async for event in self._rest:
            yield event


class About(Protocol):
    """What is known of an answer under way besides its events."""

    @property
    def provider(self) -> str:
        """Who answers."""

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All calls so far."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the caller should know."""

    @property
    def cost_micro_usd(self) -> int | None:
        """What it cost so far; None: not known."""


@dataclass(frozen=True, slots=True)
class _Known:
    """About an answer of a provider that stands in no route."""

    provider: str
    attempts: tuple[Attempt, ...]
    notes: tuple[str, ...]
    cost_micro_usd: int | None = None


async def opened_stream(events: AsyncIterator[Event], about: About) -> AIStream:
    """With its start read, so that it is known who answers before the events are."""
    start = await anext(events)
    if not isinstance(start, ResponseStart):
        raise TypeError(f"{about.provider} began its stream with {type(start).__name__}")
    return AIStream(start, events, about)


class StreamingAIService(ABC):
    """What answers prompts, whole or as a stream, knows how its providers are, and lets go of them."""

    @abstractmethod
    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        """The whole answer."""

    @abstractmethod
    def stream_events(self, prompt: str, **kwargs: Any) -> AbstractAsyncContextManager[AIStream]:
        """The answer as events; leaving the block ends the call."""

    @abstractmethod
    def states(self) -> Mapping[str, ProviderState]:
        """How each provider is, from what is known now."""

    @abstractmethod
    async def close(self) -> None:
        """Close every provider."""

    async def stream_response(self, prompt: str, **kwargs: Any) -> AsyncGenerator[str]:
        """The answer's text, piece by piece, with fallback before the first. Raises as `generate_response` does."""
        async with self.stream_events(prompt, **kwargs) as stream:
            async for piece in text_of(aiter(stream)):
                yield piece

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class AIServiceManager(StreamingAIService):
    """Asks its providers in order. A provider may be one of ours, a subclass of AIServiceProvider, or a double of it.

    A model that a provider is known not to have is asked of the others first; if they fail, that provider answers
    with its own default model, and `AIResponse.warnings` says so.
    """

    def __init__(self) -> None:
        # A double need not be a subclass: its two methods are enough.
        self._providers: dict[str, Any] = {}
        self._primary: str | None = None

    def add_provider(self, name: str, provider: AIServiceProvider, is_primary: bool = False) -> None:
        """Add one; the primary is asked first, the others in the order added. A name in use is replaced."""
        self._providers[name] = provider
        if is_primary:
            self._primary = name

    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        """The first answer that comes.

        Raises AllTargetsFailed ("All AI providers failed …", with each provider's error in `attempts`), or at
        once a WaypostError that no other provider could mend, such as an invalid request.
        """
        answered = await first_answer(
            Schedule(self._candidates(kwargs.get("model"))),
            lambda candidate: candidate.provider.generate_response(prompt, **_arguments(kwargs, candidate)),
        )
        response: Any = answered.answer
        if not isinstance(response, AIResponse):
            raise TypeError(f"{answered.candidate.name} gave {type(response).__name__} where an AIResponse is wanted")
        response.attempts = answered.attempts
        # Each once: a double may give the same object again.
        response.warnings = tuple(dict.fromkeys((*_notes(answered.candidate), *response.warnings)))
        response.provider = response.provider or answered.candidate.name
        return response

    @asynccontextmanager
    async def stream_events(self, prompt: str, **kwargs: Any) -> AsyncIterator[AIStream]:
        """The answer as events, with fallback before the first token; leaving the block ends the call."""
        async with first_stream(
            Schedule(self._candidates(kwargs.get("model"))),
            lambda candidate: _open(candidate.provider, prompt, _arguments(kwargs, candidate)),
            is_token,
        ) as answered:
            candidate = answered.candidate
            about = _Known(candidate.name, answered.attempts, _notes(candidate))
            yield await opened_stream(answered.answer, about)

    def states(self) -> Mapping[str, ProviderState]:
        """How each provider is, from what is known now; a double that does not say is taken to be ready."""
        return {
            name: provider.state() if isinstance(provider, AIServiceProvider) else ProviderState("ready")
            for name, provider in self._providers.items()
        }

    async def close(self) -> None:
        """Close every provider; one that fails does not keep the others open."""
        async with AsyncExitStack() as stack:
            for provider in self._providers.values():
                if isinstance(provider, AIServiceProvider):
                    stack.push_async_callback(provider.close)

    def _candidates(self, model: str | None) -> list[ServiceCandidate]:
        primary_first = sorted(self._providers, key=lambda name: name != self._primary)
        if not model:
            return [Candidate(name, self._providers[name]) for name in primary_first]
        without = [name for name in primary_first if _serves(self._providers[name], model) is False]
        if len(without) == len(primary_first):
            # Nobody knows the name: it may be new, so each is asked, and says itself if it does not have it.
            without = []
        asked = [Candidate(name, self._providers[name], model) for name in primary_first if name not in without]
        defaults = [
            Candidate(name, self._providers[name], note=f"{name} does not have {model}; its default model answered.")
            for name in without
        ]
        return [*asked, *defaults]


def _notes(candidate: ServiceCandidate) -> tuple[str, ...]:
    return (candidate.note,) if candidate.note else ()


def _serves(provider: Any, model: str) -> bool | None:
    return provider.serves(model) if isinstance(provider, AIServiceProvider) else None


def _arguments(arguments: Mapping[str, Any], candidate: ServiceCandidate) -> dict[str, Any]:
    others = {name: value for name, value in arguments.items() if name != "model"}
    return {**others, "model": candidate.model} if candidate.model else others


def _open(
    provider: Any, prompt: str, arguments: Mapping[str, Any]
) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
    if isinstance(provider, AIServiceProvider):
        return provider.stream_events(prompt, **arguments)
    return text_as_events(provider.stream_response(prompt, **arguments), model=arguments.get("model") or "")
