"""What the gateway gives back: a whole answer or a stream, from whom, after which attempts, and at what cost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from waypost.catalogue import PUBLISHED, PriceBook
from waypost.chat import Event, Response, Usage
from waypost.errors import Attempt
from waypost.providers.answers import Answer, AnswerStream, Batch, PassOn


@dataclass(slots=True)
class Served:
    """A whole answer. `kind` is that of the provider; `notes` is what the caller should know; `prices` say its cost."""

    answer: Answer
    provider: str
    attempts: tuple[Attempt, ...]
    notes: tuple[str, ...] = ()
    kind: str = ""
    prices: PriceBook = PUBLISHED

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
        return self.answer.model or model_asked(self.attempts)

    @property
    def usage(self) -> Usage:
        """Its token counts."""
        return self.answer.usage

    @property
    def incomplete_usage(self) -> frozenset[str]:
        """The counts that are lower bounds: none."""
        return frozenset()

    @property
    def cost_micro_usd(self) -> int | None:
        """What it cost, in millionths of a dollar; None: no price is known."""
        asked = model_asked(self.attempts)
        return self.prices.cost_micro_usd(self.provider, self.kind, self.model, self.usage, asked=asked)


class GoingOn(AnswerStream, Protocol):
    """A stream that may have gone on after a break, and what it knows of all its attempts."""

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All calls so far."""

    @property
    def incomplete_usage(self) -> frozenset[str]:
        """The counts that are lower bounds, as nobody reported all of them."""

    def sent_events(self) -> Sequence[Event]:
        """What was handed out before the last batch, decoded; empty where it is not kept."""

    def pass_on_by(self, send: PassOn) -> None:
        """See `answers.PassesOn`."""


class ServedStream:
    """An answer under way. Iterate it once, for batches; they end when the provider has finished, or it raises."""

    def __init__(
        self,
        stream: GoingOn,
        provider: str,
        notes: tuple[str, ...],
        kind: str = "",
        prices: PriceBook = PUBLISHED,
    ) -> None:
        self.provider = provider
        self.notes = (*notes, *stream.notes)
        self.headers = stream.headers
        """What of the provider's reply a caller of its dialect may see."""
        self.kind = kind
        self.prices = prices
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[Batch]:
        return aiter(self._stream)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All calls so far."""
        return self._stream.attempts

    @property
    def model(self) -> str:
        """The model that really answers, as the provider names it."""
        return self._stream.model or model_asked(self.attempts)

    @property
    def usage(self) -> Usage:
        """Counts so far."""
        return self._stream.usage

    @property
    def incomplete_usage(self) -> frozenset[str]:
        """The counts that are lower bounds."""
        return self._stream.incomplete_usage

    @property
    def cost_micro_usd(self) -> int | None:
        """What it cost so far; None: no price is known, or a break left a part uncounted."""
        if self.incomplete_usage:
            return None
        asked = model_asked(self.attempts)
        return self.prices.cost_micro_usd(self.provider, self.kind, self.model, self.usage, asked=asked)

    def sent_events(self) -> Sequence[Event]:
        """What was handed out before the last batch, in canonical form; empty where it is not kept."""
        return self._stream.sent_events()

    def pass_on_by(self, send: PassOn) -> None:
        """See `answers.PassesOn`. To be called after a batch of the provider's own bytes."""
        self._stream.pass_on_by(send)

    async def events(self) -> AsyncGenerator[Event]:
        """The same as canonical events, the start first and Finish last."""
        async for batch in self:
            for event in batch.events:
                yield event


def model_asked(attempts: Sequence[Attempt]) -> str:
    """The model that was asked of whoever answers; a call beside it that lost is told after it."""
    return next((attempt.model for attempt in reversed(attempts) if attempt.next != "lost"), None) or ""
