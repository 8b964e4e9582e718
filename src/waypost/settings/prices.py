"""The settings of prices: what tokens cost where the published price is not the one that is paid, or none is known.

Amounts are US dollars with at most six digits after the point: a millionth of a dollar for a million tokens is the
finest price there is. They are kept as they are written, never as binary fractions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from waypost.settings.fields import Part, refuse_boolean
from waypost.settings.problems import listed, nearest
from waypost.settings.references import Finding

MOST_USD = 10_000_000
MICRO = 1_000_000


def _usd(value: Any) -> Decimal:
    """What was written: the shortest decimal of a float is what stood in the file."""
    try:
        amount = Decimal(str(refuse_boolean(value)).strip())
    except InvalidOperation:
        raise ValueError("must be an amount in US dollars, such as 0.25") from None
    if not amount.is_finite() or not 0 <= amount <= MOST_USD:
        raise ValueError(f"must be from 0 to {MOST_USD} US dollars")
    if amount * MICRO != int(amount * MICRO):
        raise ValueError("is finer than a millionth of a dollar, the finest price there is; round it")
    return amount


def _as_number(amount: Decimal) -> int | float:
    return int(amount) if amount == int(amount) else float(amount)


Usd: TypeAlias = Annotated[
    Decimal,
    BeforeValidator(_usd),
    PlainSerializer(_as_number),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": MOST_USD}),
]


def _rising(steps: tuple[LongerPromptPrices, ...] | None) -> tuple[LongerPromptPrices, ...] | None:
    starts = [step.over for step in steps or ()]
    if sorted(set(starts)) != starts:
        raise ValueError("must rise in over")
    return steps


class RateSettings(Part):
    """What a million tokens cost, by their kind."""

    input: Usd | None = None
    """US dollars for a million tokens of the prompt."""
    cache_read: Usd | None = None
    """The same of what came from a cache; null is the price of input."""
    cache_write_5m: Usd | None = None
    """The same of what was written to a cache; null is the price of input."""
    cache_write_1h: Usd | None = None
    """The same of what was written to it for an hour; null is that of cache_write_5m."""
    input_audio: Usd | None = None
    """The same of sound in the prompt; null is the price of input."""
    output: Usd | None = None
    """The same of the answer; null is none, as with embeddings."""
    reasoning: Usd | None = None
    """The same of thoughts; null is the price of output."""
    output_audio: Usd | None = None
    """The same of sound in the answer; null is the price of output."""
    web_search: Usd | None = None
    """US dollars for a thousand searches by the provider's own tool; null is not known."""

    def micro_usd(self) -> dict[str, int]:
        """The amounts that are set, in micro-dollars."""
        amounts = ((name, getattr(self, name)) for name in RateSettings.model_fields)
        return {name: int(amount * MICRO) for name, amount in amounts if amount is not None}


class LongerPromptPrices(RateSettings):
    """What all tokens of a request with a longer prompt cost; what is null costs what it does with shorter ones."""

    over: Annotated[int, Field(ge=1, le=1_000_000_000), BeforeValidator(refuse_boolean)]
    """Tokens that a prompt must exceed for these prices."""


class SteppedSettings(RateSettings):
    """Prices that may depend on the length of the prompt."""

    longer_prompts: Annotated[tuple[LongerPromptPrices, ...], AfterValidator(_rising)] | None = None
    """Other prices for requests with longer prompts, in rising order of over."""


class TierPrices(SteppedSettings):
    """What tokens cost at another tier of service; what is null costs what it does at the usual one."""


class PriceSettings(SteppedSettings):
    """The price of a model at a provider."""

    free: bool = False
    """Whether it costs nothing at all, instead of prices."""
    tiers: dict[str, TierPrices] = Field(default_factory=dict)
    """Other prices by the tier of service that the provider reports, such as batch, flex or priority."""

    @model_validator(mode="after")
    def _whole(self) -> PriceSettings:
        if self.free and (self.micro_usd() or self.longer_prompts or self.tiers):
            raise ValueError("has free and prices; use one of them")
        if not self.free and self.input is None:
            raise ValueError("needs input, or free: true")
        for name, tier in self.tiers.items():
            if self.longer_prompts and tier.longer_prompts is None:
                raise ValueError(f"has longer_prompts, but tiers.{name} has none; say there what they cost, or []")
        return self


def target_names(key: str) -> tuple[str, str]:
    """A key's provider (or kind) and model. Raises ValueError."""
    provider, slash, model = key.partition("/")
    if not (provider and slash and model):
        raise ValueError(f'holds "{key}"; a key here is provider/model, such as openai/gpt-5.4 or vllm/*')
    return provider, model


def check_targets(prices: dict[str, PriceSettings]) -> dict[str, PriceSettings]:
    """The prices, if every key names a target. Raises ValueError."""
    for key in prices:
        target_names(key)
    return prices


def price_findings(keys: Iterable[str], providers: Mapping[str, Any], kinds: Iterable[str]) -> list[Finding]:
    """What is wrong with the names that prices are given to: each must be a provider's or a kind's, or hold a *."""
    known = sorted({*providers, *kinds})
    findings: list[Finding] = []
    for key in keys:
        name = key.partition("/")[0]
        if "/" in key and name and "*" not in name and name not in known:
            guess = nearest(name, known)
            mend = f"did you mean {guess}?" if guess else f"the providers are {listed(sorted(providers), last='and')}"
            findings.append((("prices", key), f'prices.{key} names the unknown provider or kind "{name}"; {mend}'))
    return findings
