"""What each target can do and costs, as JSON: the body of `GET /v1/capabilities`. No route, no policy, no state."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from waypost.catalogue.capabilities import LIMITS, Capabilities, knowledge_of
from waypost.catalogue.prices import CONFIGURED, LOCAL, PUBLISHED, PriceBook
from waypost.catalogue.rates import Period, RateCard, Rates
from waypost.chat import Json

RATE_NAMES: Final = tuple(item.name for item in fields(RateCard) if item.name not in ("over", "web_search"))
"""The rates that are for tokens."""


@dataclass(frozen=True, slots=True)
class CatalogueTarget:
    """A model of a configured provider. `model` None: one that only the provider knows."""

    provider: str
    kind: str
    model: str | None


def capability_table(
    targets: Iterable[CatalogueTarget], prices: PriceBook = PUBLISHED, *, at_s: float | None = None
) -> list[dict[str, Json]]:
    """One row a target, in their order; prices are those of `at_s` (Unix seconds; None: now)."""
    moment = time.time() if at_s is None else at_s
    return [_row(target, prices, moment) for target in targets]


def _row(target: CatalogueTarget, prices: PriceBook, at_s: float) -> dict[str, Json]:
    knowledge = knowledge_of(target.kind, target.model)
    sources: list[dict[str, Json]] = [{"of": "capabilities", **asdict(source)} for source in knowledge.sources]
    told = None
    if target.model is not None:
        price = prices.price(target.provider, target.kind, target.model)
        told = price_json(price.rates, at_s) if price.rates is not None else None
        if told is not None and price.source == CONFIGURED:
            sources.append({"of": "prices", "name": CONFIGURED})
        elif told is not None and price.source != LOCAL:
            sources.append({"of": "prices", **asdict(prices.price_list.source)})
    return {
        "provider": target.provider,
        "kind": target.kind,
        "model": target.model,
        "capabilities": _abilities(knowledge.capabilities),
        **{name: getattr(knowledge.capabilities, name) for name in LIMITS},
        "prices": told,
        "sources": sources,
    }


def _abilities(capabilities: Capabilities) -> dict[str, Json]:
    return {name: value for name, value in asdict(capabilities).items() if name not in LIMITS}


def price_json(rates: Rates, at_s: float) -> dict[str, Json] | None:
    """What prompts of any length cost, what those of more than so many tokens do, and the same at other tiers."""
    period = rates.period(None, at_s)
    if period is None:
        return None
    told = _period(period)
    tiers = {name: _period(tier) for name in rates.tiers if (tier := rates.period(name, at_s)) is not None}
    return {**told, "tiers": tiers} if tiers else told


def _period(period: Period) -> dict[str, Json]:
    first, *longer = period.cards
    prices: dict[str, Any] = {"usd_per_million_tokens": _usd(first)}
    if longer:
        prices["longer_prompts"] = [{"over_tokens": card.over, "usd_per_million_tokens": _usd(card)} for card in longer]
    if first.web_search is not None:
        prices["usd_per_thousand_web_searches"] = first.web_search / 1_000_000
    return prices


def _usd(card: RateCard) -> dict[str, Json]:
    known = {name: getattr(card, name) for name in RATE_NAMES}
    return {name: rate / 1_000_000 for name, rate in known.items() if rate is not None}
