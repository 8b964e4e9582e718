"""What tokens cost, as values, and the arithmetic. No data and no I/O; integers only, so that sums are exact.

Money is in micro-dollars. A rate is micro-dollars for a million tokens, the finest unit in which prices are published.
The invariant: a cost is a number only if all that was counted has a price; else it is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from waypost.chat import Usage

TOKENS: Final = 1_000_000
"""What a rate is for."""
CALLS: Final = 1_000
"""What the rate of a provider's own tool is for."""
STANDARD_TIERS: Final = frozenset({None, "default", "standard", "auto", "on_demand"})
"""What providers call service at the list price."""
DAY_S: Final = 86_400
FREE_CALLS: Final = frozenset({"web_fetch"})
"""Own tools that cost nothing but their tokens. Source: Anthropic, web fetch tool, "Usage and pricing"."""


@dataclass(frozen=True, slots=True)
class RateCard:
    """Rates for prompts of more than `over` tokens. None: no such price is published.

    Where there is none for tokens of a kind, those cost what the kind they belong to costs: tokens read from a cache,
    written to it or of sound are input, what is written for an hour is written, thoughts and sound spoken are output.
    """

    over: int = 0
    input: int | None = None
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    input_audio: int | None = None
    output: int | None = None
    reasoning: int | None = None
    output_audio: int | None = None
    web_search: int | None = None
    """For a thousand calls."""


@dataclass(frozen=True, slots=True)
class Period:
    """Prices from a moment (Unix seconds) on, by the length of the prompt: `cards` rise in `over`.

    `daily` bounds them to a part of each day, in seconds after midnight (UTC); it may go over midnight.
    """

    from_s: float
    cards: tuple[RateCard, ...]
    daily: tuple[int, int] | None = None

    def holds(self, at_s: float) -> bool:
        """Are these the prices of that moment, if no later period's are?"""
        if self.daily is None:
            return self.from_s <= at_s
        start, end = self.daily
        second = at_s % DAY_S
        within = start <= second < end if start <= end else second >= start or second < end
        return within and self.from_s <= at_s

    def card(self, input_tokens: int) -> RateCard:
        """The card that holds for every token of a request with a prompt of this length."""
        reached = [card for card in self.cards if input_tokens > card.over]
        return reached[-1] if reached else self.cards[0]


@dataclass(frozen=True, slots=True)
class Rates:
    """A model's prices: periods in order, and those of other tiers of service by the provider's name for them."""

    periods: tuple[Period, ...]
    tiers: Mapping[str, tuple[Period, ...]] = field(default_factory=dict)

    def period(self, service_tier: str | None, at_s: float) -> Period | None:
        """What holds at that moment; None if no price is known for it."""
        tier = service_tier.lower() if service_tier is not None else None
        periods = self.periods if tier in STANDARD_TIERS else self.tiers.get(tier or "", ())
        for period in reversed(periods):
            if period.holds(at_s):
                return period
        return None


FREE: Final = Rates((Period(float("-inf"), (RateCard(input=0, output=0),)),))
"""Of what costs nothing, whatever is counted."""


def cost_micro_usd(rates: Rates, usage: Usage, at_s: float) -> int | None:
    """What the usage cost, rounded up; None if a count or a price that it needs is not known."""
    if rates is FREE:
        return 0
    period = rates.period(usage.service_tier, at_s)
    if period is None or usage.input_tokens is None:
        return None
    card = period.card(usage.input_tokens)
    costs = (_input_cost(card, usage, usage.input_tokens), _output_cost(card, usage), _calls_cost(card, usage))
    known = [cost for cost in costs if cost is not None]
    return -(-sum(known) // TOKENS) if len(known) == len(costs) else None


def worst_case_micro_usd(
    rates: Rates, input_tokens: int, max_output_tokens: int, at_s: float, service_tier: str | None = None
) -> int | None:
    """The most that a request can cost: all of its prompt and its answer at the dearest rate for each."""
    if rates is FREE:
        return 0
    period = rates.period(service_tier, at_s)
    if period is None:
        return None
    card = period.card(input_tokens)
    if card.input is None or card.output is None:
        return None
    inputs = (card.input, card.cache_write_5m, card.cache_write_1h, card.input_audio)
    outputs = (card.output, card.reasoning, card.output_audio)
    return -(-(input_tokens * _dearest(inputs) + max_output_tokens * _dearest(outputs)) // TOKENS)


def _dearest(rates: tuple[int | None, ...]) -> int:
    return max(rate for rate in rates if rate is not None)


def _input_cost(card: RateCard, usage: Usage, total: int) -> int | None:
    """In millionths of a micro-dollar, as the costs below."""
    read, audio = usage.input_cache_read_tokens or 0, usage.input_audio_tokens or 0
    written, kept = usage.input_cache_write_5m_tokens or 0, usage.input_cache_write_1h_tokens or 0
    plain = total - read - written - kept
    if card.input_audio is None or card.input_audio == card.input:
        audio = 0
    # How much of the sound came from the cache is not counted, so that its rate is not known either.
    if plain < audio or (audio and read):
        return None
    write = _or(card.cache_write_5m, card.input)
    return _sum(
        (plain - audio, card.input),
        (audio, card.input_audio),
        (read, _or(card.cache_read, card.input)),
        (written, write),
        (kept, _or(card.cache_write_1h, write)),
    )


def _output_cost(card: RateCard, usage: Usage) -> int | None:
    if usage.output_tokens is None:
        # Embeddings have no output, and no price for it.
        return 0 if card.output is None else None
    audio = usage.output_audio_tokens or 0
    thought = usage.output_reasoning_tokens or 0 if card.reasoning is not None else 0
    if audio + thought > usage.output_tokens:
        return None
    return _sum(
        (usage.output_tokens - audio - thought, card.output),
        (thought, card.reasoning),
        (audio, _or(card.output_audio, card.output)),
    )


def _calls_cost(card: RateCard, usage: Usage) -> int | None:
    cost = 0
    for name, calls in usage.server_tool_calls.items():
        if calls and name not in FREE_CALLS:
            if name != "web_search" or card.web_search is None:
                return None
            cost += calls * card.web_search * (TOKENS // CALLS)
    return cost


def _or(rate: int | None, otherwise: int | None) -> int | None:
    return otherwise if rate is None else rate


def _sum(*amounts: tuple[int, int | None]) -> int | None:
    """Tokens times rates; None if tokens have no rate."""
    total = 0
    for tokens, rate in amounts:
        if tokens and rate is None:
            return None
        total += tokens * (rate or 0)
    return total
