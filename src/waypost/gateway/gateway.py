"""The gateway: a request in, an answer from one of its route's targets out.

It knows no wire format and no HTTP. Every front door, and the AI service of the library's face, goes through here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Any, Final, TypeAlias, cast

from waypost.catalogue import PUBLISHED, PriceBook, capabilities_of
from waypost.catalogue.batch_share import BATCH
from waypost.chat import EmbeddingRequest, EmbeddingResponse, Request
from waypost.errors import AllTargetsFailed, Attempt, UnknownModel
from waypost.gateway.balance import LatencyBoard, order
from waypost.gateway.batching import BatchCall, BatchTarget, no_batch_api, no_batches_allowed
from waypost.gateway.breaker import HealthBoard
from waypost.gateway.call_record import current_record, note_served
from waypost.gateway.candidate import Candidate
from waypost.gateway.fallback import FirstStream, first_answer, first_stream
from waypost.gateway.fitting import Traits, fit
from waypost.gateway.hedge import HedgePolicy, HedgeTarget
from waypost.gateway.inquiries import (
    Inquired,
    ResultT,
    count_at,
    counts_tokens,
    embed_at,
    estimate_at,
    has_embeddings,
    no_embeddings,
)
from waypost.gateway.open_streams import OpenStreams
from waypost.gateway.planned import Planned
from waypost.gateway.policy import Policy
from waypost.gateway.raw_call import RawCalls
from waypost.gateway.recovering import RecoveringStream, RecoveryPlan
from waypost.gateway.recovery import RecoveryTarget
from waypost.gateway.router import ConfiguredProvider, Plan, Router
from waypost.gateway.schedule import Effects, Hedging, Schedule
from waypost.gateway.served import Served, ServedStream
from waypost.gateway.worst_cost import worst_cost_micro_usd
from waypost.gateway.written_down import WrittenStream, begin_entry, longest_tokens, write_down
from waypost.ledger.account import Account
from waypost.ledger.allowances import RateLimits
from waypost.ledger.books import Books, Line
from waypost.providers.answers import Answer, AnswerStream, Batch, StreamOpening
from waypost.providers.asked import Asked
from waypost.providers.batch_api import BatchingProvider, batch_api_of
from waypost.providers.inquiry import Inquiry, InquiryAnswer, QuestionT
from waypost.providers.provider import Provider, ProviderState
from waypost.settings.references import Target
from waypost.telemetry.metrics.models import ModelNames

LOCAL_KIND: Final = "llama_cpp"
MOST_TARGETS: Final = 10_000
"""Callers may name any model, and what is remembered of each must end somewhere."""
LONG_INPUT_BYTES = 100_000
"""From here on the prompt alone takes a provider long to read."""


Latencies: TypeAlias = LatencyBoard[tuple[str, str | None]]


class Gateway:
    """Routes and policies over providers. `policies` and `shares` (of the requests) are those of the routes."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        kinds: Mapping[str, str],
        routes: Mapping[str, tuple[Target, ...]],
        policies: Mapping[str, Policy] | None = None,
        shares: Mapping[str, Mapping[Target, float]] | None = None,
        prices: PriceBook = PUBLISHED,
        books: Books | None = None,
        storing: frozenset[str] = frozenset(),
        batching: frozenset[str] = frozenset(),
    ) -> None:
        self._providers = providers
        self._kinds = kinds
        self.router = Router({name: ConfiguredProvider(kinds[name], providers[name]) for name in providers}, routes)
        self.board = HealthBoard()
        self.latencies: Latencies = LatencyBoard()
        """Seconds to the first token of streams."""
        self.whole_latencies: Latencies = LatencyBoard()
        """Seconds to the end of whole answers: no measure for a stream, nor a stream's for them."""
        self._policies = policies or {}
        self._shares = shares or {}
        self.prices = prices
        self._books = books
        self.raw = RawCalls(providers, kinds, prices, books)
        """Calls that are passed through as they are."""
        self._storing = storing
        """Names that lead to routes whose bodies are kept."""
        self.open_streams = OpenStreams()
        self._batching = batching
        """Names that lead to routes whose calls may go into providers' batches."""
        self._effects = Effects()
        self._candidates: dict[tuple[Target, bool], Candidate[Provider]] = {}
        self._traits: dict[tuple[str, str | None], Traits] = {}

    def take_over(self, before: Gateway) -> None:
        """Go on with what the gateway before this one knows of the targets that still exist."""
        self.board.take_over(before.board, self._providers)
        self.latencies, self.whole_latencies = before.latencies, before.whole_latencies
        self.open_streams = before.open_streams

    def first_provider(self, model: str) -> str | None:
        """The configured name of the provider that a request for this route or model is put to first.

        None: nobody knows the name, or the route chooses anew each time.
        """
        try:
            plan = self.router.plan(model)
        except UnknownModel:
            return None
        policy = self._policies.get(plan.route or "", DEFAULT_POLICY)
        if not plan.targets or (policy.balance != "priority" and len(plan.targets) > 1):
            return None
        return plan.targets[0].provider

    async def generate(self, asked: Asked) -> Served:
        """The whole answer. Raises AllTargetsFailed, or at once what no other target could mend, or UnknownModel."""
        planned = self._planned(asked, self.whole_latencies)
        await self._admit(asked)
        schedule = self._first_schedule(planned, asked, self.whole_latencies)
        answered = await first_answer(
            schedule, lambda candidate: self._generated(schedule, planned.asked_of(candidate, asked), candidate)
        )
        answer, candidate = answered.answer, answered.candidate
        schedule.note_key(answer.key_label)
        notes = (*planned.notes_of(candidate), *answer.notes)
        served = Served(answer, candidate.name, schedule.attempts, notes, self._kinds[candidate.name], self.prices)
        note_served(served, served.provider, served.model, served.notes)
        return served

    @asynccontextmanager
    async def stream(self, asked: Asked) -> AsyncIterator[ServedStream]:
        """The answer in batches, with fallback before the first token and recovery after it.

        Leaving the block ends the call.
        """
        planned = self._planned(asked, self.latencies)
        await self._admit(asked)
        schedule = self._first_schedule(planned, asked, self.latencies)
        first = self._open_stream(schedule, lambda candidate: planned.asked_of(candidate, asked))
        async with first as answered:
            plan = RecoveryPlan(
                asked,
                planned.policy,
                planned.candidates,
                self._recovery_target,
                self._open_stream,
                lambda candidates, before: self._schedule(planned.going_on(candidates), before),
            )
            stream = cast("AnswerStream", first.opened)
            schedule.note_key(stream.key_label)
            async with RecoveringStream(plan, first, stream, answered.candidate) as recovering:
                candidate = answered.candidate
                notes = planned.notes_of(candidate)
                served = ServedStream(recovering, candidate.name, notes, self._kinds[candidate.name], self.prices)
                note_served(served, served.provider, served.model, served.notes)
                with self.open_streams.one():
                    yield served

    async def _admit(self, asked: Asked | Inquiry[Any]) -> None:
        """Enter the request in the books. Raises LimitExceeded."""
        record = current_record()
        if record is not None and record.exchange is not None and isinstance(asked, Asked):
            record.exchange.asked = asked
        if self._books is None or record is None:
            return
        entry = begin_entry(self._books, record, asked, keeps_bodies=asked.model in self._storing)
        if entry is not None and self._books.limits_rates(entry.account):
            await self._books.admit(entry, longest_tokens(asked))

    async def _generated(self, schedule: Schedule[Provider], asked: Asked, candidate: Candidate[Provider]) -> Answer:
        _begin_span(schedule, candidate)
        line = await self._write_down(schedule, candidate, asked)
        answer = await candidate.provider.generate(asked, candidate.model or "")
        if line is not None:
            line.source = answer
        return answer

    async def _write_down(
        self,
        schedule: Schedule[Provider],
        candidate: Candidate[Provider],
        asked: Asked | Inquiry[Any],
        *,
        costs: bool = True,
    ) -> Line | None:
        if self._books is None:
            return None
        return await write_down(schedule, candidate, self._kinds[candidate.name], asked, self.prices, costs=costs)

    def _open_stream(
        self, schedule: Schedule[Provider], asked_of: Callable[[Candidate[Provider]], Asked]
    ) -> FirstStream[Provider, Batch]:
        def opening(candidate: Candidate[Provider]) -> StreamOpening:
            asked = asked_of(candidate)
            _begin_span(schedule, candidate)
            if self._books is None:
                return candidate.provider.stream(asked, candidate.model or "")
            return WrittenStream(
                lambda: self._write_down(schedule, candidate, asked),
                lambda: candidate.provider.stream(asked, candidate.model or ""),
                schedule.finished(candidate),
            )

        return first_stream(schedule, opening, _has_token)

    async def embed(self, inquiry: Inquiry[EmbeddingRequest]) -> Inquired[EmbeddingResponse]:
        """One vector for each input. Raises as `generate`, and UnsupportedFeature if no target has embeddings."""
        plan, policy, candidates = self._routed(inquiry)
        able = [
            candidate
            for candidate in candidates
            if has_embeddings(candidate.provider) and self._traits_of(candidate).capabilities.embeddings is not False
        ]
        if not able:
            raise no_embeddings(inquiry.model)
        planned = Planned(able, policy, plan.notes, plan.route, {})
        return await self._inquire(planned, inquiry, embed_at)

    async def count_tokens(self, inquiry: Inquiry[Request]) -> Inquired[int]:
        """How many tokens a prompt has at its first target that answers, or about how many. Raises as `generate`.

        A target that cannot count answers with an estimate, so none after it is asked.
        """
        plan, policy, candidates = self._routed(inquiry)
        counting = list(takewhile(lambda candidate: counts_tokens(candidate.provider), candidates))
        planned = Planned(counting, policy, plan.notes, plan.route, {})
        attempts: tuple[Attempt, ...] = ()
        if counting:
            try:
                return await self._inquire(planned, inquiry, count_at, costs=False)
            except AllTargetsFailed as error:
                if len(counting) == len(candidates):
                    raise
                attempts = error.attempts
        candidate = candidates[len(counting)]
        return self._inquired(planned, candidate, await estimate_at(candidate, inquiry), attempts)

    async def _inquire(
        self,
        planned: Planned,
        inquiry: Inquiry[QuestionT],
        asking: Callable[[Candidate[Provider], Inquiry[QuestionT]], Awaitable[InquiryAnswer[ResultT]]],
        *,
        costs: bool = True,
    ) -> Inquired[ResultT]:
        await self._admit(inquiry)
        schedule = self._schedule(planned)

        async def ask(candidate: Candidate[Provider]) -> InquiryAnswer[ResultT]:
            _begin_span(schedule, candidate)
            line = await self._write_down(schedule, candidate, inquiry, costs=costs)
            answer = await asking(candidate, inquiry)
            if line is not None:
                line.source = answer
            return answer

        answered = await first_answer(schedule, ask)
        return self._inquired(planned, answered.candidate, answered.answer, answered.attempts)

    def _inquired(
        self,
        planned: Planned,
        candidate: Candidate[Provider],
        answer: InquiryAnswer[ResultT],
        attempts: tuple[Attempt, ...],
    ) -> Inquired[ResultT]:
        notes = (*planned.notes_of(candidate), *answer.notes)
        inquired = Inquired(answer, candidate.name, attempts, notes, self._kinds[candidate.name], self.prices)
        note_served(inquired, inquired.provider, inquired.model, inquired.notes)
        return inquired

    def rate_limits(self, account: Account) -> RateLimits | None:
        """The account's limits per minute, for telling; None: it has none."""
        spending = None if self._books is None else self._books.spending
        return None if spending is None else spending.rate_limits(account)

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

    @property
    def targets(self) -> Sequence[tuple[str, str, str | None]]:
        """Provider, kind and model of every target that is configured, each once."""
        routed = (target for targets in self.router.routes.values() for target in targets)
        named = [(target.provider, target.model or self._providers[target.provider].default_model) for target in routed]
        named += [(name, provider.default_model) for name, provider in self._providers.items()]
        return [(provider, self._kinds[provider], model) for provider, model in dict.fromkeys(named)]

    def name_models(self, names: ModelNames) -> None:
        """Say which models metrics may name: those of the targets, and others that a price is known of."""

        def is_priced(provider: str, kind: str, model: str) -> bool:
            return self.prices.source(provider, kind, model) is not None

        names.configure(((provider, model or "") for provider, _, model in self.targets), is_priced)

    def states(self) -> Mapping[str, ProviderState]:
        """How each provider is, from what is known now."""
        return {name: provider.state() for name, provider in self._providers.items()}

    async def close(self) -> None:
        """Close every provider."""
        for provider in self._providers.values():
            await provider.close()

    def keeps_bodies(self, model: str) -> bool:
        """Does the route want what is asked and answered kept?"""
        return model in self._storing

    def batch_target(self, model: str | None) -> BatchTarget:
        """The first target of a route whose provider has a batch API.

        Raises UnknownModel, and UnsupportedFeature if there is none, or the route does not allow it.
        """
        plan = self.router.plan(model)
        if plan.route not in self._batching:
            raise no_batches_allowed(model or plan.route or "")
        candidates = [self._candidate(target, slow=False) for target in plan.targets]
        able = next((each for each in candidates if batch_api_of(each.provider) is not None), None)
        if able is None or able.model is None:
            raise no_batch_api(plan.route or "")
        return BatchTarget(able.name, self._kinds[able.name], able.model, plan.route)

    def batch_call(self, asked: Asked) -> BatchCall:
        """The request as that target is asked it. Raises as `batch_target`, and what the target cannot do."""
        target = self.batch_target(asked.model)
        policy = self._policies.get(target.route or "", DEFAULT_POLICY)
        candidate = self._candidate(Target(target.provider, target.model), slow=False)
        fitted = fit(asked, [candidate], self._traits_of, policy.unsupported)
        best = fitted.candidates[0]
        provider = cast("BatchingProvider", best.provider)
        wanted = fitted.requests.get(best.target, asked)
        body, notes = provider.batched(wanted, target.model)
        worst = worst_cost_micro_usd(
            self.prices, target.provider, target.kind, target.model, wanted, service_tier=BATCH
        )
        return BatchCall(target, body, (*((best.note,) if best.note else ()), *notes), worst)

    def batching_provider(self, name: str) -> BatchingProvider | None:
        """The provider of that name, if it has a batch API."""
        provider = self._providers.get(name)
        return cast("BatchingProvider", provider) if batch_api_of(provider) is not None else None

    def demand_able(self, asked: Asked) -> None:
        """Is there anybody to ask? Asks nobody. Raises UnknownModel, and UnsupportedFeature if nobody can do it."""
        plan = self.router.plan(asked.model)
        policy = self._policies.get(plan.route or "", DEFAULT_POLICY)
        candidates = [self._candidate(target, slow=False) for target in plan.targets]
        fit(asked, candidates, self._traits_of, policy.unsupported)

    def _planned(self, asked: Asked, latencies: Latencies | None = None) -> Planned:
        plan, policy, candidates = self._routed(asked, latencies)
        fitted = fit(asked, candidates, self._traits_of, policy.unsupported)
        return Planned(fitted.candidates, policy, plan.notes, plan.route, fitted.requests)

    def _routed(
        self, asked: Asked | Inquiry[Any], latencies: Latencies | None = None
    ) -> tuple[Plan, Policy, list[Candidate[Provider]]]:
        record = current_record()
        if record is not None:
            record.asked_model, record.is_stream = asked.model, isinstance(asked, Asked) and asked.stream
        plan = self.router.plan(asked.model)
        policy = self._policies.get(plan.route or "", DEFAULT_POLICY)
        slow = asked.thinks or asked.size_bytes >= LONG_INPUT_BYTES
        candidates = [self._candidate(target, slow=slow) for target in plan.targets]
        if policy.balance != "priority" and len(candidates) > 1:
            candidates = self._ordered(plan, policy, candidates, latencies or self.whole_latencies)
        if record is not None:
            record.route = plan.route
            record.retry_after_limit_ms = round(policy.retry_after_limit_s * 1000)
        return plan, policy, candidates

    def _ordered(
        self, plan: Plan, policy: Policy, candidates: Sequence[Candidate[Provider]], latencies: Latencies
    ) -> list[Candidate[Provider]]:
        shares = self._shares.get(plan.route or "", {})
        weights = [shares.get(target, 0.0) for target in plan.targets] if shares else ()
        known = latencies.latencies()
        # By their places, since a route may name a target twice.
        seen = {at: known[each.target] for at, each in enumerate(candidates) if each.target in known}
        places = order(range(len(candidates)), policy.balance, self._effects.chance, weights, seen)
        return [candidates[place] for place in places]

    def _schedule(self, planned: Planned, before: Schedule[Provider] | None = None) -> Schedule[Provider]:
        return Schedule(planned.candidates, planned.policy, self.board, self._effects, before=before)

    def _first_schedule(self, planned: Planned, asked: Asked, latencies: Latencies) -> Schedule[Provider]:
        schedule, policy = self._schedule(planned), planned.policy
        if policy.balance == "least_latency":
            schedule.latencies = latencies
        if policy.hedge_after_s is not None:
            schedule.hedging = self._hedging(planned, asked, policy.hedge_after_s)
        return schedule

    def _hedging(self, planned: Planned, asked: Asked, after_s: float) -> Hedging[Provider]:
        limit_usd = planned.policy.hedge_max_cost_usd
        limit_micro_usd = None if limit_usd is None else round(limit_usd * 1_000_000)

        def target_of(candidate: Candidate[Provider]) -> HedgeTarget:
            is_local = self.traits_of(candidate.name, candidate.model).is_local
            if limit_micro_usd is None or is_local:
                return HedgeTarget(candidate.name, candidate.model, is_local)
            kind, asked_of_it = self._kinds[candidate.name], planned.asked_of(candidate, asked)
            worst_micro_usd = worst_cost_micro_usd(self.prices, candidate.name, kind, candidate.model, asked_of_it)
            return HedgeTarget(candidate.name, candidate.model, is_local, worst_micro_usd)

        return Hedging(HedgePolicy(after_s, limit_micro_usd), target_of)

    def _candidate(self, target: Target, *, slow: bool) -> Candidate[Provider]:
        known = self._candidates.get((target, slow))
        if known is None:
            provider = self._providers[target.provider]
            model = target.model or provider.default_model
            window = self.traits_of(target.provider, model).capabilities.context_window_tokens
            known = Candidate(
                target.provider, provider, model, slow_start=slow or provider.slow_start, window_tokens=window
            )
            if len(self._candidates) >= MOST_TARGETS:
                self._candidates.clear()
            self._candidates[target, slow] = known
        return known

    def traits_of(self, provider: str, model: str | None) -> Traits:
        """What is known of a target. Kept, since every request asks."""
        known = self._traits.get((provider, model))
        if known is None:
            kind = self._kinds[provider]
            known = Traits.of(capabilities_of(kind, model), is_local=kind == LOCAL_KIND)
            if len(self._traits) >= MOST_TARGETS:
                self._traits.clear()
            self._traits[provider, model] = known
        return known

    def traits_behind(self, name: str | None) -> Sequence[tuple[str, Traits]]:
        """Provider and traits of every target behind a route, alias or model, in order. Raises UnknownModel."""
        targets = self.router.plan(name).targets
        models = [(each.provider, each.model or self._providers[each.provider].default_model) for each in targets]
        return [(provider, self.traits_of(provider, model)) for provider, model in models]

    def _traits_of(self, candidate: Candidate[Provider]) -> Traits:
        return self.traits_of(candidate.name, candidate.model)

    def _recovery_target(self, candidate: Candidate[Provider]) -> RecoveryTarget:
        traits = self.traits_of(candidate.name, candidate.model)
        prefill = traits.capabilities.prefill is True
        return RecoveryTarget(candidate.name, candidate.model, takes_prefill=prefill, is_local=traits.is_local)


DEFAULT_POLICY = Policy()


def _has_token(batch: Batch) -> bool:
    return batch.token


def _begin_span(schedule: Schedule[Provider], candidate: Candidate[Provider]) -> None:
    """The running task asks this candidate next: what is sent says so, if the request is traced."""
    record = current_record()
    if record is not None and record.trace is not None:
        schedule.note_span(candidate, record.trace.begin_call(candidate.name))
