"""What each target can do and costs, as JSON: the body of `GET /v1/capabilities`. No route, no policy, no state."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from waypost.catalogue.capabilities import LIMITS, Capabilities, knowledge_of
from waypost.catalogue.prices import FREE_KINDS, price_source, rates_of
from waypost.catalogue.rates import RateCard, Rates
from waypost.chat import Json

_RATE_NAMES: Final = tuple(item.name for item in fields(RateCard) if item.name not in ("over", "web_search"))


@dataclass(frozen=True, slots=True)
class CatalogueTarget:
    """A model of a configured provider. `model` None: one that only the provider knows."""

    provider: str
    kind: str
    model: str | None


def capability_table(targets: Iterable[CatalogueTarget], *, at_s: float | None = None) -> list[dict[str, Json]]:
    """One row a target, in their order; prices are those of `at_s` (Unix seconds; None: now)."""
    moment = time.time() if at_s is None else at_s
    return [_row(target, moment) for target in targets]


def _row(target: CatalogueTarget, at_s: float) -> dict[str, Json]:
    knowledge = knowledge_of(target.kind, target.model)
    rates = rates_of(target.kind, target.model) if target.model is not None else None
    prices = _prices(rates, at_s) if rates is not None else None
    sources: list[dict[str, Json]] = [{"of": "capabilities", **asdict(source)} for source in knowledge.sources]
    if prices is not None and target.kind not in FREE_KINDS:
        sources.append({"of": "prices", **asdict(price_source())})
    return {
        "provider": target.provider,
        "kind": target.kind,
        "model": target.model,
        "capabilities": _abilities(knowledge.capabilities),
        **{name: getattr(knowledge.capabilities, name) for name in LIMITS},
        "prices": prices,
        "sources": sources,
    }


def _abilities(capabilities: Capabilities) -> dict[str, Json]:
    return {name: value for name, value in asdict(capabilities).items() if name not in LIMITS}


def _prices(rates: Rates, at_s: float) -> dict[str, Json] | None:
    """At the list price: what prompts of any length cost, and what those of more than so many tokens do."""
    period = rates.period(None, at_s)
    if period is None:
        return None
    first, *longer = period.cards
    prices: dict[str, Any] = {"usd_per_million_tokens": _usd(first)}
    if longer:
        prices["longer_prompts"] = [{"over_tokens": card.over, "usd_per_million_tokens": _usd(card)} for card in longer]
    if first.web_search is not None:
        prices["usd_per_thousand_web_searches"] = first.web_search / 1_000_000
    return prices


def _usd(card: RateCard) -> dict[str, Json]:
    known = {name: getattr(card, name) for name in _RATE_NAMES}
    return {name: rate / 1_000_000 for name, rate in known.items() if rate is not None}
