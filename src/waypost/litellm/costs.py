"""Prices of the file, in dollars for one token, as prices of ours, in dollars for a million."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from waypost.litellm.report import Report
from waypost.settings.prices import MICRO, MOST_USD

RATES: Final[Mapping[str, str]] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "input_audio",
    "output_cost_per_audio_token": "output_audio",
}
LONGER: Final = re.compile(r"(?P<name>.+)_above_(?P<thousands>\d+)k_tokens")
TIERS: Final[Mapping[str, str]] = {"_batches": "batch", "_flex": "flex", "_priority": "priority"}
TOKENS: Final = 1_000_000


def price_of(costs: Mapping[str, Any], where: str, report: Report) -> dict[str, Any] | None:
    """The price, as our settings write it; None if there is none that we could keep."""
    read = _Amounts()
    for name, value in costs.items():
        if value is not None:
            read.take(name, value, where, report)
    if read.is_empty:
        return None
    if "input" not in read.usual:
        report.left_out(where, "its price has none for input tokens, so that no cost could be told")
        return None
    if read.is_free:
        return {"free": True}
    if read.longer and any(read.tiers.values()):
        report.changed(where, "at other tiers its prices are the same for prompts of any length")
    return read.price()


@dataclass(slots=True)
class _Amounts:
    """What tokens cost usually, with longer prompts and at other tiers."""

    usual: dict[str, Any] = field(default_factory=dict)
    longer: dict[int, dict[str, Any]] = field(default_factory=dict)
    tiers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, name: str, value: Any, where: str, report: Report) -> None:
        """Put the amount where it belongs."""
        holder, rate = self._place(name)
        amount = _usd(value)
        if holder is None:
            report.left_out(f"{where}.{name}", "prices here are for tokens and for searches")
        elif amount is None:
            text = "it is no amount, or finer than a millionth of a dollar for a million tokens"
            report.left_out(f"{where}.{name}", text)
        else:
            holder[rate] = amount

    @property
    def is_empty(self) -> bool:
        """Was there nothing that could be kept?"""
        return not (self.usual or any(self.longer.values()) or any(self.tiers.values()))

    @property
    def is_free(self) -> bool:
        """Is every amount 0?"""
        return not any(any(each.values()) for each in (self.usual, *self.longer.values(), *self.tiers.values()))

    def price(self) -> dict[str, Any]:
        """As our settings write it."""
        price = dict(self.usual)
        longer = {over: self.longer[over] for over in sorted(self.longer) if self.longer[over]}
        if longer:
            price["longer_prompts"] = [{"over": over, **amounts} for over, amounts in longer.items()]
        tiers = {name: tier for name, tier in self.tiers.items() if tier}
        if tiers:
            any_length: dict[str, Any] = {"longer_prompts": []} if longer else {}
            price["tiers"] = {name: {**tier, **any_length} for name, tier in tiers.items()}
        return price

    def _place(self, name: str) -> tuple[dict[str, Any] | None, str]:
        if name in RATES:
            return self.usual, RATES[name]
        for ending, tier in TIERS.items():
            if name.endswith(ending) and name.removesuffix(ending) in RATES:
                return self.tiers.setdefault(tier, {}), RATES[name.removesuffix(ending)]
        match = LONGER.fullmatch(name)
        if match is not None and match["name"] in RATES:
            return self.longer.setdefault(int(match["thousands"]) * 1000, {}), RATES[match["name"]]
        return None, ""


def _usd(value: Any) -> int | float | None:
    """For a million tokens; None if it cannot be written so."""
    if value is None or isinstance(value, bool):
        return None
    try:
        amount = Decimal(str(value).strip()) * TOKENS
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount <= MOST_USD or amount * MICRO != int(amount * MICRO):
        return None
    return int(amount) if amount == int(amount) else float(amount)
