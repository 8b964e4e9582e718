"""What an answer cost, by the list of prices that comes with Waypost. Where it has no price there is no cost.

The list (`prices.json`) holds the figures of genai-prices as of a day; `tools/prices.py` writes it. It is read at the
first question, and a model is looked up once. The invariant: None is "no price known"; 0 is said of what is free.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final

from waypost.catalogue import rates as arithmetic
from waypost.catalogue.capabilities import capabilities_of
from waypost.catalogue.rates import FREE, Period, RateCard, Rates
from waypost.chat import Usage

LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    "anthropic": ("anthropic",),
    "openai": ("openai",),
    "gemini": ("google",),
    "azure_openai": ("azure", "openai"),
}
"""A kind of provider -> the lists that are searched for its models, in order."""
FREE_KINDS: Final = frozenset({"llama_cpp"})
"""Kinds whose models run on one's own machine."""


@dataclass(frozen=True, slots=True)
class PriceSource:
    """Where the prices come from: the package and its version, the day it was published, the list's SHA-256."""

    name: str
    version: str
    date: str
    sha256: str


def cost_micro_usd(kind: str, model: str, usage: Usage, *, at_s: float | None = None) -> int | None:
    """What `usage` cost, in micro-dollars, rounded up; None if it is not known. `at_s` (Unix seconds): now.

    `model` is best the name that answered: of a moving name, such as "…-latest", a price may not be known. Surcharges
    that counts do not show (a region, a fast mode) are not in it.
    """
    if kind in FREE_KINDS:
        return 0
    rates = rates_of(kind, model)
    return None if rates is None else arithmetic.cost_micro_usd(rates, usage, time.time() if at_s is None else at_s)


def worst_case_micro_usd(
    kind: str, model: str, input_tokens: int, max_output_tokens: int | None = None, *, service_tier: str | None = None
) -> int | None:
    """The most that one answer can cost, in micro-dollars; None if it is not known.

    `max_output_tokens` None: as long as the model can write. Calls of the provider's own tools are not in it.
    """
    if kind in FREE_KINDS:
        return 0
    rates, longest = rates_of(kind, model), max_output_tokens
    if longest is None:
        longest = capabilities_of(kind, model).max_output_tokens
    if rates is None or longest is None:
        return None
    return arithmetic.worst_case_micro_usd(rates, input_tokens, longest, time.time(), service_tier)


def price_source() -> PriceSource:
    """Where the prices come from."""
    return _price_list().source


@lru_cache(maxsize=1024)
def rates_of(kind: str, model: str) -> Rates | None:
    """The model's prices; None if none is known. Some milliseconds for the first model, then under a microsecond."""
    if kind in FREE_KINDS:
        return FREE
    name = model.lower()
    for provider in LISTS.get(kind, ()):
        for row in _price_list().providers[provider]:
            if _matches(row["match"], name):
                return _rates(row) if row["periods"] else None
    return None


_TESTS: Final[Mapping[str, Callable[[Any, str], bool]]] = {
    "equals": lambda value, name: name == value.lower(),
    "starts_with": lambda value, name: name.startswith(value.lower()),
    "ends_with": lambda value, name: name.endswith(value.lower()),
    "contains": lambda value, name: value.lower() in name,
    "regex": lambda value, name: re.search(value, name) is not None,
    "or": lambda clauses, name: any(_matches(clause, name) for clause in clauses),
    "and": lambda clauses, name: all(_matches(clause, name) for clause in clauses),
}


def _matches(clause: Mapping[str, Any], name: str) -> bool:
    return all(_TESTS[test](value, name) for test, value in clause.items())


def _rates(row: Mapping[str, Any]) -> Rates:
    tiers = {name: _periods(periods) for name, periods in row.get("tiers", {}).items()}
    return Rates(_periods(row["periods"]), tiers)


def _periods(rows: list[Any]) -> tuple[Period, ...]:
    return tuple(Period(_start_s(row["from"]), tuple(RateCard(**card) for card in row["cards"])) for row in rows)


def _start_s(day: str | None) -> float:
    return float("-inf") if day is None else datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class _PriceList:
    source: PriceSource
    providers: Mapping[str, list[Any]]


@cache
def _price_list() -> _PriceList:
    data = files("waypost.catalogue").joinpath("prices.json").read_bytes()
    document = json.loads(data)
    source = document["source"]
    digest = hashlib.sha256(data).hexdigest()
    return _PriceList(
        PriceSource(source["name"], source["version"], source["date"], digest),
        document["providers"],
    )
