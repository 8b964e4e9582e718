"""The price book of a configuration: its own prices, and whose published prices the models of each provider have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from waypost.catalogue.price_list import prices_in_force
from waypost.catalogue.prices import PriceBook, PriceRule
from waypost.catalogue.rates import FREE, Period, RateCard, Rates

if TYPE_CHECKING:
    from waypost.settings import PriceSettings, ProviderSettings, RateSettings, Settings
    from waypost.settings.prices import SteppedSettings

HOSTS: Final[Mapping[str, str]] = {
    "api.anthropic.com": "anthropic",
    "api.openai.com": "openai",
    "generativelanguage.googleapis.com": "google",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x-ai",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.perplexity.ai": "perplexity",
    "api.cerebras.ai": "cerebras",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.moonshot.ai": "moonshotai",
    "api.z.ai": "zai",
    "api.minimax.io": "minimax",
}
"""A vendor's host -> whose prices hold there. A vendor who asks for other prices on another host is not among them."""
ALWAYS: Final = float("-inf")


def price_book(settings: Settings) -> PriceBook:
    """The prices that hold for these settings. No file is read before the first question."""
    vendors = {name: vendors for name, provider in settings.providers.items() if (vendors := _vendors_of(provider))}
    return PriceBook(tuple(_rules(settings.prices)), vendors, partial(prices_in_force, settings.data_dir))


def _vendors_of(provider: ProviderSettings) -> tuple[str, ...]:
    """Whose prices hold at a provider, where its kind alone does not say it."""
    base_url = getattr(provider, "base_url", None)
    if provider.kind == "vertex" and base_url is None and getattr(provider, "region", None) == "global":
        # The regions cost more than the global endpoint, by how much depends on the model.
        return ("google",)
    vendor = HOSTS.get(urlsplit(base_url).hostname or "") if base_url else None
    return () if vendor is None else (vendor,)


def _rules(prices: Mapping[str, PriceSettings]) -> Iterator[PriceRule]:
    for key, price in prices.items():
        provider, _, model = key.partition("/")
        yield PriceRule(provider, model, FREE if price.free else _rates(price))


def _rates(price: PriceSettings) -> Rates:
    tiers = {name.lower(): (Period(ALWAYS, _cards(tier, price)),) for name, tier in price.tiers.items()}
    return Rates((Period(ALWAYS, _cards(price)),), tiers)


def _cards(price: SteppedSettings, usual: RateSettings | None = None) -> tuple[RateCard, ...]:
    """What a card does not name costs what it does on the one before it."""
    first = {**(usual.micro_usd() if usual is not None else {}), **price.micro_usd()}
    longer = [RateCard(over=step.over, **{**first, **step.micro_usd()}) for step in price.longer_prompts or ()]
    return (RateCard(**first), *longer)
