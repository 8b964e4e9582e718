"""catalogue/prices.py and rates.py: published prices, worked out by hand, and what has none."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime

import genai_prices
import pytest
from tools.prices import RELEASED, price_list

from waypost.catalogue import PUBLISHED
from waypost.catalogue.prices import VENDORS
from waypost.catalogue.rates import Rates
from waypost.chat import Usage

NOVEMBER_2026 = datetime(2026, 11, 20, tzinfo=UTC).timestamp()


def cost(kind: str, model: str, usage: Usage, at: float = NOVEMBER_2026) -> int | None:
    return PUBLISHED.cost_micro_usd("any", kind, model, usage, at)


def worst_case(kind: str, model: str, *counts: int, service_tier: str | None = None) -> int | None:
    return PUBLISHED.worst_case_micro_usd("any", kind, model, *counts, service_tier=service_tier)


def rates_of(kind: str, model: str) -> Rates | None:
    return PUBLISHED.price("any", kind, model).rates


MILLION = 1_000_000


def test_a_micro_dollar_begun_counts() -> None:
    """A cost that is there is never told as nothing."""
    assert cost("anthropic", "claude-haiku-5-5", Usage(input_tokens=1, output_tokens=0)) == 1
    assert cost("anthropic", "claude-haiku-5-5", Usage(input_tokens=0, output_tokens=0)) == 0


@pytest.mark.parametrize(
    ("kind", "model", "usage"),
    [
        ("openai", "gpt-unheard-of", Usage(input_tokens=1, output_tokens=1)),
        ("openai_compatible", "gpt-4o", Usage(input_tokens=1, output_tokens=1)),
        ("a-plugin", "gpt-4o", Usage(input_tokens=1, output_tokens=1)),
        ("openai", "gpt-4o", Usage()),
        ("openai", "gpt-4o", Usage(input_tokens=1)),
        ("openai", "gpt-4o", Usage(output_tokens=1)),
        ("openai", "gpt-4o", Usage(input_tokens=1, output_tokens=1, service_tier="scale")),
        ("anthropic", "claude-opus-5-5", Usage(input_tokens=1, output_tokens=1, service_tier="priority")),
        ("anthropic", "claude-opus-5-5", Usage(input_tokens=1, output_tokens=1, server_tool_calls={"dig": 1})),
        ("openai", "gpt-4o", Usage(input_tokens=1, input_cache_read_tokens=2, output_tokens=1)),
        ("openai", "gpt-audio", Usage(input_tokens=9, output_audio_tokens=2, output_tokens=1)),
        (
            "gemini",
            "gemini-2.5-flash",
            Usage(input_tokens=9, input_audio_tokens=2, input_cache_read_tokens=3, output_tokens=1),
        ),
        ("openai", "text-embedding-3-small", Usage(input_tokens=1, output_tokens=1)),
        ("openai", "gpt-image-1", Usage(input_tokens=1, output_tokens=1)),
        ("gemini", "gemini-2.5-flash-image", Usage(input_tokens=1, output_tokens=1)),
        ("gemini", "claude-opus-5-5", Usage(input_tokens=1, output_tokens=1)),
    ],
)
def test_what_is_not_known_has_no_cost_rather_than_none_at_all(kind: str, model: str, usage: Usage) -> None:
    assert cost(kind, model, usage) is None


def test_tools_that_were_not_called_do_not_make_a_cost_unknown() -> None:
    usage = Usage(input_tokens=1, output_tokens=1, server_tool_calls={"dig": 0})
    assert cost("anthropic", "claude-opus-5-5", usage) == 24


def test_a_price_holds_from_its_day_on() -> None:
    """GPT-5.6 Luna became five times cheaper on 2026-07-30. Source: developers.openai.com/api/docs/pricing."""
    usage = Usage(input_tokens=1000, output_tokens=1000)
    day = datetime(2026, 7, 30, tzinfo=UTC).timestamp()
    assert cost("openai", "gpt-5.6-luna", usage, day - 1) == 1000 + 6000
    assert cost("openai", "gpt-5.6-luna", usage, day) == 200 + 1200


def test_a_tier_had_no_known_price_before_it_was_looked_up() -> None:
    usage = Usage(input_tokens=1000, output_tokens=100, service_tier="flex")
    assert cost("openai", "gpt-5.4", usage, datetime(2026, 10, 11, tzinfo=UTC).timestamp()) is None


def test_the_local_model_is_free_whatever_was_counted() -> None:
    assert cost("llama_cpp", "smollm2-135m-instruct", Usage(input_tokens=10, output_tokens=10)) == 0
    assert cost("llama_cpp", "my.gguf", Usage()) == 0
    assert worst_case("llama_cpp", "my.gguf", 1000) == 0


def test_the_worst_case_takes_the_dearest_rate_for_each_token() -> None:
    # Opus 5.5: every token written to the cache for an hour ($8), every token of the answer at $20.
    assert worst_case("anthropic", "claude-opus-5-5", 1000, 100) == 8000 + 2000
    # Without a limit the answer may be as long as the model can write: 128,000 tokens.
    assert worst_case("anthropic", "claude-opus-5-5", 0) == 128_000 * 20
    assert worst_case("openai", "gpt-5.4", 1000, 100, service_tier="priority") == 5000 + 3000
    assert worst_case("openai", "gpt-unheard-of", 1000, 100) is None
    assert worst_case("anthropic", "claude-fable-5-2", 1000) is None, "how long it writes is not known"


@pytest.mark.parametrize("input_tokens", [10, 99_999, 250_000])
@pytest.mark.parametrize("output_tokens", [0, 7, 4096])
@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("anthropic", "claude-haiku-4-5"),
        ("anthropic", "claude-sonnet-5-5"),
        ("anthropic", "claude-fable-5-2"),
        ("openai", "gpt-5"),
        ("openai", "gpt-6.1-sol"),
        ("openai", "o3-mini"),
        ("gemini", "gemini-2.5-flash-lite"),
        ("gemini", "gemini-3.8-flash"),
        ("gemini", "gemini-4-argon"),
    ],
)
def test_costs_are_those_that_genai_prices_works_out(
    kind: str, model: str, input_tokens: int, output_tokens: int
) -> None:
    """Our integers against its decimals, for the price list at a fixed day."""
    read = input_tokens // 3
    calculated = genai_prices.calc_price(
        genai_prices.Usage(input_tokens=input_tokens, cache_read_tokens=read, output_tokens=output_tokens),
        model,
        provider_id=VENDORS[kind][0],
        genai_request_timestamp=datetime.fromtimestamp(NOVEMBER_2026, UTC),
    )
    usage = Usage(input_tokens=input_tokens, input_cache_read_tokens=read, output_tokens=output_tokens)
    expected = math.ceil(calculated.total_price * MILLION)
    assert cost(kind, model, usage) == expected
    worst = worst_case(kind, model, input_tokens, output_tokens)
    assert worst is not None
    assert worst >= expected


def test_names_are_read_without_regard_to_case() -> None:
    assert rates_of("openai", "GPT-4o") == rates_of("openai", "gpt-4o")


def test_the_list_is_the_one_that_the_locked_package_gives() -> None:
    source = PUBLISHED.price_list.source
    assert RELEASED[source.version] == source.date
    assert genai_prices.__version__ == source.version
    assert hashlib.sha256(price_list().encode()).hexdigest() == source.sha256


def test_azures_models_cost_what_openais_do_where_it_has_no_price_of_its_own() -> None:
    assert rates_of("azure_openai", "gpt-4o") == rates_of("openai", "gpt-4o")
    assert rates_of("azure_openai", "my-deployment") is None
