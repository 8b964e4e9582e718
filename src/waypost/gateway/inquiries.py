"""Embeddings and counts of tokens, asked of a route's targets under the same policy as conversations.

Targets that have no embeddings are left out, for no retry would change that. A target that cannot count is not asked:
its count is estimated here, and said to be. No breaker hears of an estimate, which says nothing about its target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from waypost.catalogue import PUBLISHED, PriceBook
from waypost.chat import EmbeddingRequest, EmbeddingResponse, Request, Usage
from waypost.codecs.estimate import estimate_input_tokens
from waypost.errors import Attempt, UnsupportedFeature
from waypost.gateway.candidate import Candidate
from waypost.providers.inquiry import CountingProvider, EmbeddingProvider, Inquiry, InquiryAnswer
from waypost.providers.provider import Provider

ResultT = TypeVar("ResultT")
LARGE_BYTES: Final = 256 * 1024
"""From here on reading a prompt takes so long that other requests must not wait for it."""


@dataclass(frozen=True, slots=True)
class Inquired(Generic[ResultT]):
    """An inquiry's answer. `kind` is that of the provider; `notes` is what the caller should know."""

    answer: InquiryAnswer[ResultT]
    provider: str
    attempts: tuple[Attempt, ...]
    notes: tuple[str, ...] = ()
    kind: str = ""
    prices: PriceBook = PUBLISHED

    @property
    def headers(self) -> Mapping[str, str]:
        """What of the provider's reply a caller of its dialect may see."""
        return self.answer.headers

    @property
    def model(self) -> str:
        """The model that really answered, as the provider names it."""
        return self.answer.model or self._asked or ""

    @property
    def _asked(self) -> str | None:
        return self.attempts[-1].model if self.attempts else None

    @property
    def usage(self) -> Usage:
        """Its token counts; none of a count of tokens, which nobody charges for."""
        return self.answer.usage

    @property
    def incomplete_usage(self) -> frozenset[str]:
        """The counts that are lower bounds: none."""
        return frozenset()

    @property
    def cost_micro_usd(self) -> int | None:
        """What it cost, in millionths of a dollar; None: no price is known."""
        return self.prices.cost_micro_usd(self.provider, self.kind, self.model, self.usage, asked=self._asked)


def has_embeddings(provider: Provider) -> bool:
    """Can it be asked for embeddings at all?"""
    return isinstance(provider, EmbeddingProvider) and provider.embeds


async def embed_at(
    candidate: Candidate[Provider], inquiry: Inquiry[EmbeddingRequest]
) -> InquiryAnswer[EmbeddingResponse]:
    """One target's vectors. Raises ProviderError, UnsupportedFeature."""
    provider = candidate.provider
    if not isinstance(provider, EmbeddingProvider):
        raise no_embeddings(inquiry.model)
    return await provider.embed(inquiry, candidate.model or "")


def counts_tokens(provider: Provider) -> bool:
    """Can it be asked for a count at all?"""
    return isinstance(provider, CountingProvider) and provider.counts_tokens


async def count_at(candidate: Candidate[Provider], inquiry: Inquiry[Request]) -> InquiryAnswer[int]:
    """One target's count, or an estimate if it turns out to have none. Raises ProviderError, InvalidRequest."""
    provider = candidate.provider
    if isinstance(provider, CountingProvider):
        counted = await provider.count_tokens(inquiry, candidate.model or "")
        if counted is not None:
            return counted
    return await estimate_at(candidate, inquiry)


async def estimate_at(candidate: Candidate[Provider], inquiry: Inquiry[Request]) -> InquiryAnswer[int]:
    """About how many tokens the prompt has at this target, which is not asked. Raises InvalidRequest."""
    note = f"count: {candidate.name} cannot count tokens, so this is an estimate"
    tokens = await _estimated(inquiry)
    return InquiryAnswer(tokens, model=candidate.model or "", notes=(note,), estimated=True)


async def _estimated(inquiry: Inquiry[Request]) -> int:
    def estimate() -> int:
        return estimate_input_tokens(inquiry.question)

    return estimate() if inquiry.size_bytes < LARGE_BYTES else await asyncio.to_thread(estimate)


def no_embeddings(model: str) -> UnsupportedFeature:
    """The error where none of a name's targets has embeddings."""
    return UnsupportedFeature(
        f'No provider behind "{model[:200]}" has embeddings.',
        hint="Ask for a model of a provider that has them, such as OpenAI's or Google's.",
        param="model",
    )
