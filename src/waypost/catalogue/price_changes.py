"""What differs between two prices, or two lists of them: each rate with its amounts before and after. No printing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from waypost.catalogue.price_list import PriceList
from waypost.catalogue.rates import Rates
from waypost.catalogue.table import RATE_NAMES

RateKey: TypeAlias = tuple[str | None, int, str]
"""The tier of service (None: the usual one), the tokens that a prompt must exceed, and the rate's name."""


@dataclass(frozen=True, slots=True)
class RateChange:
    """One amount that differs, in micro-dollars for a million tokens (or a thousand calls). None: there is no such."""

    seller: str
    model: str
    key: RateKey
    before: int | None
    after: int | None

    @property
    def percent(self) -> float | None:
        """How much more it is, in percent of what it was; None where there is nothing to compare."""
        if self.before is None or self.after is None or not self.before:
            return None
        return (self.after - self.before) * 100 / self.before


@dataclass(frozen=True, slots=True)
class ListChanges:
    """What differs between two lists at one moment. Models are told as (seller, id)."""

    changed: tuple[RateChange, ...]
    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]


def rate_changes(
    seller: str, model: str, before: Rates | None, after: Rates | None, at_s: float
) -> Iterator[RateChange]:
    """Each rate that differs at that moment (Unix seconds)."""
    old, new = _amounts(before, at_s), _amounts(after, at_s)
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            yield RateChange(seller, model, key, old.get(key), new.get(key))


def list_changes(before: PriceList, after: PriceList, at_s: float) -> ListChanges:
    """What the second list says otherwise than the first, at that moment (Unix seconds)."""
    old, new = _models(before), _models(after)
    changed = (rate_changes(*key, old[key], new[key], at_s) for key in old if key in new)
    return ListChanges(
        tuple(change for changes in changed for change in changes),
        tuple(key for key in new if key not in old),
        tuple(key for key in old if key not in new),
    )


def _models(price_list: PriceList) -> Mapping[tuple[str, str], Rates | None]:
    return {(seller, row.id): row.rates() for seller, rows in price_list.providers.items() for row in rows}


def _amounts(rates: Rates | None, at_s: float) -> dict[RateKey, int]:
    if rates is None:
        return {}
    amounts: dict[RateKey, int] = {}
    for tier in (None, *rates.tiers):
        period = rates.period(tier, at_s)
        for card in period.cards if period is not None else ():
            rated = ((name, getattr(card, name)) for name in (*RATE_NAMES, "web_search"))
            amounts |= {(tier, card.over, name): amount for name, amount in rated if amount is not None}
    return amounts
