"""What batches cost where no list and no configuration says it: the vendors' own general rule. Data and arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Final

from waypost.catalogue.rates import FREE, Period, RateCard, Rates

BATCH: Final = "batch"
"""The tier of service, as price lists call it."""
SHARES: Final[Mapping[str, int]] = {"anthropic": 2, "openai": 2}
"""Kind of provider -> what the usual rates are divided by.

Source: Anthropic, Batch processing ("50% of the standard API prices"), and OpenAI, Batch API ("50% lower costs"), both
as of 2026-11-26.
"""
NO_RATES: Final = frozenset({"over", "web_search"})
"""Members of a card that stay: a search costs what it always does."""


def with_batch(kind: str, rates: Rates) -> Rates:
    """The rates, those of batches among them if the vendor has such."""
    share = SHARES.get(kind)
    if share is None or rates is FREE or BATCH in rates.tiers:
        return rates
    periods = tuple(replace(period, cards=_cards(period, share)) for period in rates.periods)
    return Rates(rates.periods, {**rates.tiers, BATCH: periods})


def _cards(period: Period, share: int) -> tuple[RateCard, ...]:
    return tuple(_divided(card, share) for card in period.cards)


def _divided(card: RateCard, share: int) -> RateCard:
    names = [each.name for each in fields(card) if each.name not in NO_RATES]
    # Rounded up: rates are whole micro-dollars for a million tokens.
    return replace(card, **{name: -(-rate // share) for name in names if (rate := getattr(card, name)) is not None})
