"""The gateway: a request in, an answer from one of its route's targets out.

It knows no wire format and no HTTP. Every front door, and the AI service of the library's face, goes through here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from waypost.chat import EmbeddingRequest, EmbeddingResponse, Event, Request, Response
from waypost.errors import Attempt, UnknownPath, UnsupportedFeature
from waypost.gateway.breaker import HealthBoard
from waypost.gateway.fallback import Answered, first_answer, first_stream
from waypost.gateway.inquiries import Inquired, count_at, embed_at, has_embeddings, no_embeddings
from waypost.gateway.policy import Policy
from waypost.gateway.router import ConfiguredProvider, Router
from waypost.gateway.schedule import Candidate, Schedule
from waypost.providers.answers import Answer, AnswerStream, Batch
from waypost.providers.asked import Asked
from waypost.providers.inquiry import Inquiry, InquiryAnswer
from waypost.providers.provider import Provider, ProviderState
from waypost.providers.raw import RawProvider
from waypost.settings.references import Target

ResultT = TypeVar("ResultT")
LONG_INPUT_BYTES = 100_000
"""From here on the prompt alone takes a provider long to read."""


@dataclass(frozen=True, slots=True)
class Served:
    """A whole answer: from whom, after which attempts, and what the caller should know."""

    answer: Answer
    provider: str
    attempts: tuple[Attempt, ...]
    notes: tuple[str, ...] = ()

    @property
    def response(self) -> Response:
        """The answer in canonical form."""
        return self.answer.response

    @property
    def headers(self) -> Mapping[str, str]:
        """What of the provider's reply a caller of its dialect may see."""
        return self.answer.headers

    @property
    def model(self) -> str:
        """The model that really answered, as the provider names it."""
        return self.answer.model or self.attempts[-1].model or ""


class ServedStream:
    """An answer under way. Iterate it once, for batches; they end when the provider has finished, or it raises."""

    def __init__(
        self,
        stream: AnswerStream,
        batches: AsyncIterator[Batch],
        provider: str,
        attempts: tuple[Attempt, ...],
        notes: tuple[str, ...],
    ) -> None:
        self.stream = stream
        self.provider = provider
        self.attempts = attempts
        self.notes = (*notes, *stream.notes)
        self._batches = batches

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self._batches

    @property
    def headers(self) -> Mapping[str, str]:
        """What of the provider's reply a caller of its dialect may see."""
        return self.stream.headers

    @property
    def model(self) -> str:
        """The model that really answers, as the provider names it."""
        return self.stream.model or self.attempts[-1].model or ""

    async def events(self) -> AsyncGenerator[Event]:
        """The same as canonical events, the start first and Finish last."""
        async for batch in self._batches:
            for event in batch.events:
                yield event


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

    async def generate(self, asked: Asked) -> Served:
        """The whole answer. Raises AllTargetsFailed, or at once what no other target could mend, or UnknownModel."""
        schedule, notes = self._schedule(asked)
        answered = await first_answer(
            schedule, lambda candidate: candidate.provider.generate(asked, candidate.model or "")
        )
        answer = answered.answer
        return Served(answer, answered.candidate.name, answered.attempts, (*notes, *answer.notes))

    @asynccontextmanager
    async def stream(self, asked: Asked) -> AsyncIterator[ServedStream]:
        """The answer in batches, with fallback before the first token; leaving the block ends the call."""
        schedule, notes = self._schedule(asked)
        first = first_stream(
            schedule, lambda candidate: candidate.provider.stream(asked, candidate.model or ""), _has_token
        )
        async with first as answered:
            stream = cast("AnswerStream", first.opened)
            yield ServedStream(stream, answered.answer, answered.candidate.name, answered.attempts, notes)

    async def embed(self, inquiry: Inquiry[EmbeddingRequest]) -> Inquired[EmbeddingResponse]:
        """One vector for each input. Raises as `generate`, and UnsupportedFeature if no target has embeddings."""
        if not any(
            has_embeddings(self._providers[target.provider]) for target in self.router.plan(inquiry.model).targets
        ):
            raise no_embeddings(inquiry.model)
        schedule, notes = self._schedule(inquiry, has_embeddings)
        return _inquired(await first_answer(schedule, lambda candidate: embed_at(candidate, inquiry)), notes)

    async def count_tokens(self, inquiry: Inquiry[Request]) -> Inquired[int]:
        """How many tokens a prompt has at its first target that answers, or about how many. Raises as `generate`."""
        schedule, notes = self._schedule(inquiry)
        return _inquired(await first_answer(schedule, lambda candidate: count_at(candidate, inquiry)), notes)

    def raw_provider(self, name: str) -> RawProvider:
        """The provider of that name, for calls that are passed through. Raises UnknownPath, UnsupportedFeature."""
        provider = self._providers.get(name)
        if provider is None:
            raise UnknownPath(
                f'There is no provider named "{name[:200]}" here.', hint=f"There are {', '.join(self._providers)}."
            )
        if not isinstance(provider, RawProvider) or not provider.takes_raw:
            raise UnsupportedFeature(f"{name} answers conversations only.", hint="Ask another provider.")
        return provider

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

    def _schedule(
        self, asked: Asked | Inquiry[Any], able: Callable[[Provider], bool] = lambda _provider: True
    ) -> tuple[Schedule[Provider], tuple[str, ...]]:
        plan = self.router.plan(asked.model)
        slow = asked.thinks or asked.size_bytes >= LONG_INPUT_BYTES
        targets = [target for target in plan.targets if able(self._providers[target.provider])]
        candidates = [self._candidate(target, slow=slow) for target in targets]
        policy = self._policies.get(plan.route or "", DEFAULT_POLICY)
        return Schedule(candidates, policy, self.board), plan.notes

    def _candidate(self, target: Target, *, slow: bool) -> Candidate[Provider]:
        provider = self._providers[target.provider]
        model = target.model or provider.default_model
        return Candidate(target.provider, provider, model, slow_start=slow or provider.slow_start)


DEFAULT_POLICY = Policy()


def _inquired(answered: Answered[Provider, InquiryAnswer[ResultT]], notes: tuple[str, ...]) -> Inquired[ResultT]:
    answer = answered.answer
    return Inquired(answer, answered.candidate.name, answered.attempts, (*notes, *answer.notes))


def _has_token(batch: Batch) -> bool:
    return batch.token
