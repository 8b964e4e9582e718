"""The gateway: a canonical request in, an answer from one of its route's targets out.

It knows no wire format and no HTTP. Every front door, and the AI service of the library's face, goes through here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from waypost.chat import CitationDelta, Event, PartDelta, PartStart, Request, Response, ResponseStart
from waypost.errors import Attempt
from waypost.gateway.breaker import HealthBoard
from waypost.gateway.fallback import Answered, first_answer, first_stream
from waypost.gateway.policy import Policy
from waypost.gateway.router import ConfiguredProvider, Router
from waypost.gateway.schedule import Candidate, ProviderT, Schedule
from waypost.providers.provider import Provider, ProviderState
from waypost.settings.references import Target

LONG_INPUT_CHARACTERS = 100_000
"""From here on the prompt alone takes a provider long to read."""


@dataclass(frozen=True, slots=True)
class Served:
    """A whole answer: from whom, after which attempts, and what the caller should know."""

    response: Response
    provider: str
    attempts: tuple[Attempt, ...]
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """The model that really answered, as the provider names it."""
        return self.response.model or self.attempts[-1].model or ""


@dataclass(frozen=True, slots=True)
class ServedStream:
    """An answer under way. `events` holds all of them, the start too; the last is Finish, or it raises."""

    start: ResponseStart
    events: AsyncIterator[Event]
    provider: str
    attempts: tuple[Attempt, ...]
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """The model that really answers, as the provider names it."""
        return self.start.model or self.attempts[-1].model or ""


class Gateway:
    """Routes and policies over providers. `policies` are those of the routes that have one of their own."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        kinds: Mapping[str, str],
        routes: Mapping[str, tuple[Target, ...]],
        policies: Mapping[str, Policy] | None = None,
    ) -> None:
        self._providers = providers
        self.router = Router({name: ConfiguredProvider(kinds[name], providers[name]) for name in providers}, routes)
        self.board = HealthBoard()
        self._policies = policies or {}

    async def generate(self, request: Request) -> Served:
        """The whole answer. Raises AllTargetsFailed, or at once what no other target could mend, or UnknownModel."""
        schedule, notes = self._schedule(request)
        answered = await first_answer(
            schedule, lambda candidate: candidate.provider.generate(_asked_of(request, candidate))
        )
        response = answered.answer
        return Served(response, answered.candidate.name, answered.attempts, (*notes, *response.notes))

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[ServedStream]:
        """The answer as events, with fallback before the first token; leaving the block ends the call."""
        schedule, notes = self._schedule(request)
        async with first_stream(
            schedule, lambda candidate: candidate.provider.stream(_asked_of(request, candidate)), is_token
        ) as answered:
            yield await served_stream(answered, notes)

    @property
    def names(self) -> Mapping[str, str]:
        """Names that a request may ask for, each with whom it asks first: routes, aliases, default models."""
        routed = {name: targets[0].provider for name, targets in self.router.routes.items() if targets}
        models = {
            f"{name}/{provider.default_model}": name
            for name, provider in self._providers.items()
            if provider.default_model
        }
        return {**routed, **models}

    def states(self) -> Mapping[str, ProviderState]:
        """How each provider is, from what is known now."""
        return {name: provider.state() for name, provider in self._providers.items()}

    async def close(self) -> None:
        """Close every provider."""
        for provider in self._providers.values():
            await provider.close()

    def _schedule(self, request: Request) -> tuple[Schedule[Provider], tuple[str, ...]]:
        plan = self.router.plan(request.model)
        slow = request.reasoning is not None or _is_long(request)
        candidates = [self._candidate(target, slow=slow) for target in plan.targets]
        policy = self._policies.get(plan.route or "", DEFAULT_POLICY)
        return Schedule(candidates, policy, self.board), plan.notes

    def _candidate(self, target: Target, *, slow: bool) -> Candidate[Provider]:
        provider = self._providers[target.provider]
        model = target.model or provider.default_model
        return Candidate(target.provider, provider, model, slow_start=slow or provider.slow_start)


DEFAULT_POLICY = Policy()


def is_token(event: Event) -> bool:
    """Content of any kind: from here on the caller has seen something."""
    match event:
        case PartDelta():
            return bool(event.text)
        case PartStart():
            return bool(getattr(event.part, "text", True))
        case CitationDelta():
            return True
        case _:
            return False


async def served_stream(answered: Answered[ProviderT, AsyncIterator[Event]], notes: tuple[str, ...]) -> ServedStream:
    """With its start read, so that it is known who answers before the events are."""
    start = await anext(answered.answer)
    if not isinstance(start, ResponseStart):
        raise TypeError(f"{answered.candidate.name} began its stream with {type(start).__name__}")
    events = _with_first(start, answered.answer)
    return ServedStream(start, events, answered.candidate.name, answered.attempts, (*notes, *start.notes))


async def _with_first(start: ResponseStart, rest: AsyncIterator[Event]) -> AsyncIterator[Event]:
    yield start
    async for event in rest:
        yield event


def _asked_of(request: Request, candidate: Candidate[Provider]) -> Request:
    return replace(request, model=candidate.model or "")


def _is_long(request: Request) -> bool:
    return sum(len(message.text) for message in request.messages) >= LONG_INPUT_CHARACTERS
