"""catalogue/batch_share.py: what batches cost, worked out by hand from the vendors' pages."""

from __future__ import annotations

import pytest

from waypost.catalogue import PUBLISHED, PriceBook, PriceRule
from waypost.catalogue.rates import Period, RateCard, Rates
from waypost.chat import Usage


def batch(read: int, written: int, **more: object) -> Usage:
    return Usage(input_tokens=read, output_tokens=written, service_tier="batch", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "model", "usage", "micro_usd"),
    [
        # $1 and $5 for a million; half of it: 1,000 x 0.5 + 200 x 2.5.
        ("anthropic", "claude-haiku-4-5", batch(1_000, 200), 1_000),
        # $0.25 and $2; half of it: 1,000 x 0.125 + 500 x 1.
        ("openai", "gpt-5-mini", batch(1_000, 500), 625),
        # What was begun of a micro-dollar counts: 3 x 0.125 + 1.
        ("openai", "gpt-5-mini", batch(3, 1), 2),
        # No list says what it costs in batches: $15 and $75, halved.
        ("anthropic", "claude-opus-4-1", batch(1_000_000, 1_000_000), 45_000_000),
        # A search is $10 for a thousand, in batches too: 10,000 for one, and 2 tokens at 7.5.
        ("anthropic", "claude-opus-4-1", batch(2, 0, server_tool_calls={"web_search": 1}), 10_015),
        # Nobody says that these have batches.
        ("bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0", batch(1_000, 200), None),
        ("openai_compatible", "gpt-5-mini", batch(1_000, 500), None),
    ],
)
def test_a_batch_costs_half(kind: str, model: str, usage: Usage, micro_usd: int | None) -> None:
    assert PUBLISHED.cost_micro_usd("any", kind, model, usage) == micro_usd


def test_a_price_of_the_configuration_is_halved_unless_it_says_what_batches_cost() -> None:
    """An odd rate is rounded up."""
    usual = (Period(float("-inf"), (RateCard(input=3, output=1_000_001),)),)
    told = (Period(float("-inf"), (RateCard(input=4, output=900_000),)),)
    halved = PriceBook([PriceRule("any", "own", Rates(usual))])
    assert halved.cost_micro_usd("any", "openai", "own", batch(1_000_000, 1_000_000)) == 2 + 500_001
    said = PriceBook([PriceRule("any", "own", Rates(usual, {"batch": told}))])
    assert said.cost_micro_usd("any", "openai", "own", batch(1_000_000, 1_000_000)) == 4 + 900_000


def test_the_worst_case_of_a_batch_is_half_that_of_a_call() -> None:
    """For 2,000 tokens of input (at the dearest rate, that of a cache written for an hour), and 500 of output."""
    worst = PUBLISHED.worst_case_micro_usd("any", "anthropic", "claude-opus-4-1", 2_000, 500, service_tier="batch")
    assert worst == 2_000 * 15 + 500 * 75 // 2
