"""The price list that Waypost ships, from the figures of genai-prices: `src/waypost/catalogue/prices.json`.

genai-prices is needed here only: in the server it would cost half a second, 15 MB and a second HTTP client. The
invariant: what the list cannot say in tokens (pictures or films made, hours of sound) is left out, so that the model
has no price rather than a wrong one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from typing import Any, Final

RELEASED: Final = {"0.2.3": "2026-11-10"}
"""The day each release of genai-prices was published; `make lock` to a newer one needs a row here."""
PROVIDERS: Final = ("anthropic", "openai", "google", "azure")
OWN_MODELS: Final = {"google": ("gemini", "gemma", "learnlm")}
"""What Google sells under other names is not served by the Gemini API."""
RATES: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "output_mtok": "output",
    "output_audio_mtok": "output_audio",
    "web_searches_kcount": "web_search",
}
SAME_AS: Final = {"input_image_mtok": "input_mtok", "input_video_mtok": "input_mtok"}
"""Prices that are no news if they are those of text, and that cannot be told from the counts if they are not."""
IGNORED: Final = frozenset({"storage_searches_kcount", "cache_image_read_mtok", "cache_audio_read_mtok"})
"""Prices of what Waypost never counts as such, or counts only together with something else (and then knows no cost)."""
TIERS: Final = {
    "batch": {"processing": "batch"},
    **{name: {"service_tier": name} for name in ("flex", "priority", "fast")},
}


def price_list() -> str:
    """The text of prices.json."""
    from genai_prices.data import providers

    known = {provider.id: provider for provider in providers}
    lists = {name: list(_models(name, known[name])) for name in PROVIDERS}
    return _one_model_a_line({"source": _source(), "providers": lists})


def _source() -> dict[str, str]:
    release = version("genai-prices")
    if release not in RELEASED:
        raise SystemExit(f"tools/prices.py: add the day on which genai-prices {release} was published to RELEASED.")
    return {
        "name": "genai-prices",
        "version": release,
        "date": RELEASED[release],
        "license": "MIT",
        "unit": "micro-dollars for a million tokens; web_search: for a thousand calls",
    }


def _models(name: str, provider: Any) -> Iterator[dict[str, Any]]:
    for model in provider.models:
        if not model.id.startswith(OWN_MODELS.get(name, "")):
            continue
        row: dict[str, Any] = {"id": model.id, "match": _clause(model.match)}
        try:
            row["periods"] = list(_periods(model, {}))
            row |= {"tiers": tiers} if (tiers := dict(_tiers(model))) else {}
        except _NotInTokens:
            # The row stays: without it the name might match a later model's clause.
            row["periods"] = []
        yield row


class _NotInTokens(Exception):
    """A price depends on what the counts do not tell apart."""


def _tiers(model: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for name, when in TIERS.items():
        starts = [_start(variant) for variant in model.price_variants or () if variant.when == when]
        if starts:
            yield name, list(_periods(model, when, min(starts)))


def _periods(model: Any, context: Mapping[str, str], first: date = date.min) -> Iterator[dict[str, Any]]:
    """The prices from `first` on, and from each later day on which one of them changes."""
    conditional = model.prices if isinstance(model.prices, list) else []
    days = {first, *map(_start, [*conditional, *(model.price_variants or ())])}
    last = None
    for day in sorted(day for day in days if day >= first):
        prices = model.get_prices(datetime.combine(day, time(), UTC), dict(context) or None)
        cards = _cards({key: value for key, value in vars(prices).items() if value is not None})
        if cards != last:
            yield {"from": None if day == date.min else day.isoformat(), "cards": cards}
        last = cards


def _start(priced: Any) -> date:
    return priced.constraint.start_date if priced.constraint is not None else date.min


def _cards(prices: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The prices for prompts of more than so many tokens each."""
    unknown = prices.keys() - RATES.keys() - SAME_AS.keys() - IGNORED
    if unknown or any(key in prices and prices[key] != prices.get(of) for key, of in SAME_AS.items()):
        raise _NotInTokens
    starts = sorted({0, *(tier.start for price in prices.values() for tier in getattr(price, "tiers", ()))})
    return [
        {"over": start, **{RATES[key]: _micro_usd(_at(price, start)) for key, price in prices.items() if key in RATES}}
        for start in starts
    ]


def _at(price: Any, start: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if tier.start <= start and start]
    return Decimal(reached[-1] if reached else price.base)


def _micro_usd(usd: Decimal) -> int:
    micro = usd * 1_000_000
    if micro != int(micro):
        raise ValueError(f"{usd} dollars is not a whole number of micro-dollars")
    return int(micro)


def _clause(clause: Any) -> dict[str, Any]:
    """A test of a model's name: {"equals": …}, {"or": […]} and so on."""
    ((name, value),) = vars(clause).items()
    return {name.rstrip("_"): [_clause(each) for each in value] if isinstance(value, list) else value}


def _one_model_a_line(document: Mapping[str, Any]) -> str:
    """JSON whose changes can be read line by line."""
    lines = [f'{{"source": {json.dumps(document["source"])},', '"providers": {']
    lists = document["providers"].items()
    for number, (name, models) in enumerate(lists, 1):
        lines += [f'"{name}": [', *_comma_separated(json.dumps(model) for model in models)]
        lines.append("]," if number < len(lists) else "]")
    return "\n".join([*lines, "}}"]) + "\n"


def _comma_separated(rows: Iterable[str]) -> list[str]:
    return ",\n".join(rows).split("\n")
