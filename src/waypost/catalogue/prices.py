"""What an answer cost, or can cost at most: by the prices of the configuration, else by the list of published ones.

A list is read at the first question, and a target is looked up once. The invariant: None is "no price known"; 0 is said
of what is free.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Final, TypeAlias

from waypost.catalogue import rates as arithmetic
from waypost.catalogue.batch_share import BATCH, with_batch
from waypost.catalogue.capabilities import capabilities_of
from waypost.catalogue.price_list import PriceList, packaged_prices
from waypost.catalogue.rates import FREE, Rates
from waypost.chat import Usage

VENDORS: Final[Mapping[str, tuple[str, ...]]] = {
    "anthropic": ("anthropic",),
    "openai": ("openai",),
    "gemini": ("google",),
    "azure_openai": ("azure", "openai"),
    "bedrock": ("aws",),
}
"""A kind of provider -> whose prices its models have, in the order in which they are searched."""
FREE_KINDS: Final = frozenset({"llama_cpp"})
"""Kinds whose models run on one's own machine."""
NAMED_AS_ASKED: Final = frozenset({"bedrock"})
"""Kinds where the price hangs on the name that is asked for, which says the region, and not on the one that answers."""
MOST_TARGETS: Final = 4096
"""Callers may name any model, and what is remembered must end somewhere."""

CONFIGURED: Final = "configuration"
LOCAL: Final = "this machine"

Rank: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class PriceRule:
    """A price of the configuration: of a provider's name or kind, and of a model; * stands for any text."""

    provider: str
    model: str
    rates: Rates

    def rank(self, provider: str, kind: str, models: Iterable[str]) -> Rank | None:
        """How closely it fits a target that goes by any of these models' names; more is closer, None: not at all.

        The provider's name comes before its kind, a name before a pattern, and of patterns the one that says more.
        """
        seller, wanted = self.provider.lower(), self.model.lower()
        of_seller = _fit(seller, (provider,)) or _fit(seller, (kind,))
        of_model = _fit(wanted, models)
        if of_seller is None or of_model is None:
            return None
        level = 2 if seller == provider.lower() else of_seller[0]
        return level, of_seller[1], *of_model


def _fit(pattern: str, names: Iterable[str]) -> tuple[int, int] | None:
    """1 if it is one of the names, else 0; and how much a pattern says. None: it fits none of them."""
    small = [name.lower() for name in names]
    if pattern in small:
        return 1, 0
    # Only * is special here.
    escaped = pattern.replace("[", "[[]").replace("?", "[?]")
    fits = "*" in pattern and any(fnmatchcase(name, escaped) for name in small)
    return (0, len(pattern) - pattern.count("*")) if fits else None


@dataclass(frozen=True, slots=True)
class Price:
    """What is known of a target's price. `source` is None where nothing is."""

    rates: Rates | None = None
    source: str | None = None


UNPRICED: Final = Price()


class PriceBook:
    """The prices that hold for the providers of one configuration. `model` is best the name that answered.

    Where another name was asked for (`asked`), a price may be known by either: an alias such as "…-latest", or the name
    of a deployment. Surcharges that counts do not show, as for a region, are not in it.
    """

    def __init__(
        self,
        rules: Sequence[PriceRule] = (),
        vendors: Mapping[str, tuple[str, ...]] | None = None,
        read: Callable[[], PriceList] = packaged_prices,
    ) -> None:
        """`vendors` says whose prices a provider's models have, by its name, where its kind does not say it."""
        self._rules = tuple(rules)
        self._vendors = vendors or {}
        self._read = read
        self._known: dict[tuple[str, str, str, str | None], Price] = {}

    @cached_property
    def price_list(self) -> PriceList:
        """The list of published prices."""
        return self._read()

    def warm(self) -> None:
        """Read the list now, so that no request waits for it."""
        _ = self.price_list

    def price(self, provider: str, kind: str, model: str, asked: str | None = None) -> Price:
        """What is known of a target's price."""
        target = (provider, kind, model, asked)
        known = self._known.get(target)
        if known is None:
            known = self._look_up(provider, kind, model, asked)
            if len(self._known) >= MOST_TARGETS:
                self._known.clear()
            self._known[target] = known
        return known

    def cost_micro_usd(
        self,
        provider: str,
        kind: str,
        model: str,
        usage: Usage,
        at_s: float | None = None,
        *,
        asked: str | None = None,
    ) -> int | None:
        """What `usage` cost, in micro-dollars, rounded up; None if it is not known. `at_s` (Unix seconds): now."""
        rates = self._rates(provider, kind, model, asked, usage.service_tier)
        return None if rates is None else arithmetic.cost_micro_usd(rates, usage, time.time() if at_s is None else at_s)

    def worst_case_micro_usd(
        self,
        provider: str,
        kind: str,
        model: str,
        input_tokens: int,
        max_output_tokens: int | None = None,
        *,
        service_tier: str | None = None,
    ) -> int | None:
        """The most that one answer can cost, in micro-dollars; None if it is not known.

        `max_output_tokens` None: as long as the model can write. Calls of the provider's own tools are not in it.
        """
        rates, longest = self._rates(provider, kind, model, None, service_tier), max_output_tokens
        if rates is FREE:
            return 0
        if longest is None:
            longest = capabilities_of(kind, model).max_output_tokens
        if rates is None or longest is None:
            return None
        return arithmetic.worst_case_micro_usd(rates, input_tokens, longest, time.time(), service_tier)

    def _rates(self, provider: str, kind: str, model: str, asked: str | None, tier: str | None) -> Rates | None:
        """Those of the target; of batches also where nobody says them."""
        rates = self.price(provider, kind, model, asked).rates
        return with_batch(kind, rates) if rates is not None and tier == BATCH else rates

    def source(self, provider: str, kind: str, model: str, *, asked: str | None = None) -> str | None:
        """Where the price comes from, such as "configuration"; None if none is known."""
        return self.price(provider, kind, model, asked).source

    def published(self, provider: str, kind: str, model: str, asked: str | None = None) -> Rates | None:
        """The price of the list, whatever the configuration says."""
        vendors = self._vendors.get(provider) or VENDORS.get(kind, ())
        names = (model, asked or model)
        for name in reversed(names) if kind in NAMED_AS_ASKED else names:
            row = self.price_list.row(vendors, name) if vendors else None
            if row is not None:
                return row.rates()
        return None

    def _look_up(self, provider: str, kind: str, model: str, asked: str | None) -> Price:
        rule = self._rule(provider, kind, (model,) if asked is None else (model, asked))
        if rule is not None:
            return Price(rule.rates, CONFIGURED)
        if kind in FREE_KINDS:
            return Price(FREE, LOCAL)
        rates = self.published(provider, kind, model, asked)
        return UNPRICED if rates is None else Price(rates, str(self.price_list.source))

    def _rule(self, provider: str, kind: str, models: Sequence[str]) -> PriceRule | None:
        """The one that fits most closely; of two alike the first."""
        ranked = ((rule.rank(provider, kind, models), rule) for rule in self._rules)
        fitting = [(rank, rule) for rank, rule in ranked if rank is not None]
        return max(fitting, key=lambda each: each[0])[1] if fitting else None


PUBLISHED: Final = PriceBook()
"""The packaged list alone: the prices where there is no configuration."""
