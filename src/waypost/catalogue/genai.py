"""From the data of genai-prices, as it publishes them in JSON, to a list of prices.

genai-prices itself is not needed, and is imported only where it is asked for what is installed of it: it costs half a
second, 15 MB and a second HTTP client. The invariant: what cannot be told from counts of tokens (pictures or films
made, hours of sound, requests) is left out, so that a model has no price rather than a wrong one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from waypost.catalogue.price_list import MAX_RATE

VENDORS: Final = (
    "anthropic",
    "openai",
    "google",
    "azure",
    "aws",
    "groq",
    "mistral",
    "deepseek",
    "x-ai",
    "together",
    "fireworks",
    "perplexity",
    "cerebras",
    "cohere",
    "moonshotai",
    "zai",
    "minimax",
)
"""Those whose prices are kept. A reseller's, such as OpenRouter's, change with whom it passes a request on to."""
OWN_MODELS: Final = {"google": ("gemini", "gemma", "learnlm")}
"""What Google sells under other names is not served by the Gemini API."""
RATES: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "output_audio",
    "web_searches_kcount": "web_search",
}
SAME_AS: Final = {"input_image_mtok": "input_mtok", "input_video_mtok": "input_mtok"}
"""Prices that are no news if they are those of text, and that cannot be told from the counts if they are not."""
IGNORED: Final = frozenset({"storage_searches_kcount", "cache_image_read_mtok", "cache_audio_read_mtok"})
"""Prices of what Waypost never counts as such, or counts only together with something else (and then knows no cost)."""
TIERS: Final[Mapping[str, tuple[Mapping[str, str], ...]]] = {
    "batch": ({"processing": "batch"},),
    "flex": ({"service_tier": "flex"},),
    "priority": ({"service_tier": "priority"},),
    "fast": ({"service_tier": "fast"}, {"speed": "fast"}),
}
"""A tier of service -> what genai-prices says of requests at it."""
MICRO: Final = 1_000_000
MISSING: Final[Mapping[tuple[str, str], Mapping[str, Decimal]]] = {
    # Without them sound would cost what text does, a sixteenth. Source: developers.openai.com/api/docs/pricing.
    ("openai", "gpt-4o-audio-preview"): {"input_audio_mtok": Decimal(40), "output_audio_mtok": Decimal(80)},
    ("openai", "gpt-4o-mini-audio-preview"): {"input_audio_mtok": Decimal(10), "output_audio_mtok": Decimal(20)},
}
"""Published prices that genai-prices leaves out: they are added until it has them. Only of models with one price."""


class NotGenaiPrices(ValueError):
    """The data are not of the form in which genai-prices publishes them."""


def price_list_text(published: Any, source: Mapping[str, str]) -> str:
    """The text of a price list, one model a line. `published` is JSON with its numbers as Decimal.

    `source` says name, version and date. Raises NotGenaiPrices.
    """
    try:
        known = {provider["id"]: provider for provider in published}
        lists = {vendor: list(_models(vendor, known[vendor])) for vendor in VENDORS if vendor in known}
    except (TypeError, KeyError, AttributeError, ValueError, IndexError, InvalidOperation) as error:
        raise NotGenaiPrices(f"these are not the data of genai-prices ({type(error).__name__}: {error})") from error
    unit = "micro-dollars for a million tokens; web_search: for a thousand calls"
    return _one_model_a_line({"source": {**source, "license": "MIT", "unit": unit}, "providers": lists})


def _models(vendor: str, provider: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for model in provider["models"]:
        if not model["id"].startswith(OWN_MODELS.get(vendor, "")):
            continue
        row: dict[str, Any] = {"id": model["id"], "match": model["match"]}
        if isinstance(model["prices"], Mapping):
            model = {**model, "prices": {**MISSING.get((vendor, model["id"]), {}), **model["prices"]}}
        try:
            row["periods"] = list(_in_turn(model) if _is_daily(model) else _periods(model, ()))
            row |= {"tiers": tiers} if (tiers := dict(_tiers(model))) else {}
        except _NotInTokens:
            # The row stays: without it the name might match a later model's clause.
            row["periods"] = []
        yield row


class _NotInTokens(Exception):
    """A price depends on what the counts do not tell apart, or is finer than they are."""


def _conditional(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The prices in turn; the last one whose condition holds is the one."""
    prices = model["prices"]
    return prices if isinstance(prices, list) else [{"prices": prices}]


def _variants(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return model.get("price_variants") or []


def _constraint(priced: Mapping[str, Any]) -> Mapping[str, Any]:
    return priced.get("constraint") or {}


def _start(priced: Mapping[str, Any]) -> date:
    constraint = _constraint(priced)
    return date.fromisoformat(constraint["start_date"]) if constraint else date.min


def _is_daily(model: Mapping[str, Any]) -> bool:
    return any("start_time" in _constraint(each) for each in _conditional(model))


def _in_turn(model: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Prices of which some hold at hours of the day only."""
    for number, each in enumerate(_conditional(model)):
        constraint = _constraint(each) if number else {}
        period: dict[str, Any] = {"from": constraint.get("start_date"), "cards": _cards(each["prices"])}
        if "start_time" in constraint:
            period["daily"] = [constraint[end].rstrip("Z") for end in ("start_time", "end_time")]
        yield period


def _tiers(model: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for name, whens in TIERS.items():
        starts = [_start(variant) for variant in _variants(model) if variant["when"] in whens]
        if starts:
            yield name, list(_periods(model, whens, min(starts)))


def _periods(
    model: Mapping[str, Any], whens: tuple[Mapping[str, str], ...], first: date = date.min
) -> Iterator[dict[str, Any]]:
    """The prices from `first` on, and from each later day on which one of them changes."""
    days = {first, *map(_start, [*_conditional(model), *_variants(model)])}
    last = None
    for day in sorted(day for day in days if day >= first):
        cards = _cards(_prices_on(model, day, whens))
        if cards != last:
            yield {"from": None if day == date.min else day.isoformat(), "cards": cards}
        last = cards


def _prices_on(model: Mapping[str, Any], day: date, whens: tuple[Mapping[str, str], ...]) -> dict[str, Any]:
    """Those of that day; of requests at a tier, the first variant that names a price comes before the standard."""
    first, *later = _conditional(model)
    standard = next((each for each in reversed(later) if _start(each) <= day), first)["prices"]
    varied: dict[str, Any] = {}
    for variant in _variants(model):
        if variant["when"] in whens and _start(variant) <= day:
            varied = {**variant["prices"], **varied}
    return {**standard, **varied}


def _cards(stated: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The prices for prompts of more than so many tokens each."""
    prices = {key: value for key, value in stated.items() if value is not None}
    unknown = prices.keys() - RATES.keys() - SAME_AS.keys() - IGNORED
    if (
        unknown
        or not prices.keys() & RATES.keys()
        or any(key in prices and prices[key] != prices.get(of) for key, of in SAME_AS.items())
    ):
        raise _NotInTokens
    starts = sorted({0, *(tier["start"] for price in prices.values() for tier in _steps(price))})
    return [
        {"over": start, **{RATES[key]: _micro_usd(_at(price, start)) for key, price in prices.items() if key in RATES}}
        for start in starts
    ]


def _steps(price: Any) -> list[Mapping[str, Any]]:
    return price["tiers"] if isinstance(price, Mapping) else []


def _at(price: Any, start: int) -> Any:
    if not isinstance(price, Mapping):
        return price
    reached = [step for step in _steps(price) if step["start"] <= start and start]
    return max(reached, key=lambda step: step["start"])["price"] if reached else price["base"]


def _micro_usd(usd: Any) -> int:
    micro = Decimal(usd) * MICRO
    if not 0 <= micro <= MAX_RATE:
        raise ValueError(f"{usd} dollars is no price")
    if micro != int(micro):
        raise _NotInTokens
    return int(micro)


def installed() -> Any:
    """What is installed of genai-prices, as it would publish it. Raises ImportError."""
    from genai_prices.data import providers

    return [
        {"id": provider.id, "models": [_plain(model) for model in provider.models]}
        for provider in providers
        if provider.id in VENDORS
    ]


def _plain(value: Any) -> Any:
    """Its objects as JSON, with decimals as they are."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str | int | Decimal | dict) or value is None:
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat().removesuffix("+00:00")
    return {name.rstrip("_"): _plain(item) for name, item in vars(value).items() if item is not None}


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
