"""catalogue/prices.py and rates.py: published prices, worked out by hand, and what has none."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime

import genai_prices
import pytest
from tools.prices import RELEASED, price_list

from waypost.catalogue import cost_micro_usd, price_source, rates_of, worst_case_micro_usd
from waypost.catalogue.prices import LISTS
from waypost.chat import Usage

NOVEMBER_2026 = datetime(2026, 11, 20, tzinfo=UTC).timestamp()


def cost(kind: str, model: str, usage: Usage, at: float = NOVEMBER_2026) -> int | None:
    return cost_micro_usd(kind, model, usage, at_s=at)


MILLION = 1_000_000

# Dollars for a million tokens are micro-dollars for one, so each line can be checked in the head.
# Sources: platform.claude.com/docs/en/about-claude/pricing, developers.openai.com/api/docs/pricing and
# ai.google.dev/gemini-api/docs/pricing, as of November 2026.
GOLDEN = [
    # Claude Opus 5.5: $4 in, $20 out, $0.20 read from the cache, $5 and $8 written to it for 5 minutes and an hour.
    ("anthropic", "claude-opus-5-5", Usage(input_tokens=1000, output_tokens=500), 1000 * 4 + 500 * 20),
    (
        "anthropic",
        "claude-opus-5-5",
        Usage(
            input_tokens=10_000,
            input_cache_read_tokens=5000,
            input_cache_write_5m_tokens=2000,
            input_cache_write_1h_tokens=1000,
            output_tokens=100,
            output_reasoning_tokens=60,
        ),
        2000 * 4 + 1000 + 2000 * 5 + 1000 * 8 + 100 * 20,
    ),
    # Claude Sonnet 4.5: $3 and $15; web searches $10 for a thousand, fetching pages nothing.
    (
        "anthropic",
        "claude-sonnet-4-5-20250929",
        Usage(input_tokens=100, output_tokens=10, server_tool_calls={"web_search": 3, "web_fetch": 2}),
        100 * 3 + 10 * 15 + 30_000,
    ),
    # Claude Haiku 5.5: $0.10 and $0.50 up to 100,000 tokens; beyond, all of them at $0.50 and $2.50.
    ("anthropic", "claude-haiku-5-5", Usage(input_tokens=100_000, output_tokens=1000), 10_000 + 500),
    ("anthropic", "claude-haiku-5-5", Usage(input_tokens=100_002, output_tokens=1000), 50_001 + 2500),
    # GPT-5.4 mini: $0.75, $0.075 from the cache, $4.50.
    (
        "openai",
        "gpt-5.4-mini-2026-03-17",
        Usage(input_tokens=12_000, input_cache_read_tokens=3000, output_tokens=800, service_tier="default"),
        6750 + 225 + 3600,
    ),
    # GPT-4o: $2.50, $1.25, $10.
    ("openai", "gpt-4o", Usage(input_tokens=2000, input_cache_read_tokens=1000, output_tokens=100), 2500 + 1250 + 1000),
    # GPT-5.4 at the flex tier: half of $2.50 and $15; for more than 272,000 tokens of prompt half of $5 and $22.50.
    ("openai", "gpt-5.4", Usage(input_tokens=1000, output_tokens=100, service_tier="flex"), 1250 + 750),
    ("openai", "gpt-5.4", Usage(input_tokens=300_000, output_tokens=1000, service_tier="flex"), 750_000 + 11_250),
    # text-embedding-3-small: $0.02, and no output.
    ("openai", "text-embedding-3-small", Usage(input_tokens=50), 1),
    # Gemini 2.5 Flash: $0.30, sound $1.00, $2.50 with thinking.
    (
        "gemini",
        "gemini-2.5-flash",
        Usage(input_tokens=1500, input_audio_tokens=500, output_tokens=200, output_reasoning_tokens=150),
        300 + 500 + 500,
    ),
    # Gemini 2.5 Pro: $1.25 and $10; beyond 200,000 tokens $2.50 and $15.
    ("gemini", "gemini-2.5-pro", Usage(input_tokens=200_000, output_tokens=10), 250_000 + 100),
    ("gemini", "gemini-2.5-pro", Usage(input_tokens=400_000, output_tokens=10), MILLION + 150),
]


@pytest.mark.parametrize(("kind", "model", "usage", "expected"), GOLDEN)
def test_published_prices(kind: str, model: str, usage: Usage, expected: int) -> None:
    assert cost(kind, model, usage) == expected


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
    assert worst_case_micro_usd("llama_cpp", "my.gguf", 1000) == 0


def test_the_worst_case_takes_the_dearest_rate_for_each_token() -> None:
    # Opus 5.5: every token written to the cache for an hour ($8), every token of the answer at $20.
    assert worst_case_micro_usd("anthropic", "claude-opus-5-5", 1000, 100) == 8000 + 2000
    # Without a limit the answer may be as long as the model can write: 128,000 tokens.
    assert worst_case_micro_usd("anthropic", "claude-opus-5-5", 0) == 128_000 * 20
    assert worst_case_micro_usd("openai", "gpt-5.4", 1000, 100, service_tier="priority") == 5000 + 3000
    assert worst_case_micro_usd("openai", "gpt-unheard-of", 1000, 100) is None
    assert worst_case_micro_usd("anthropic", "claude-fable-5-2", 1000) is None, "how long it writes is not known"


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
        provider_id=LISTS[kind][0],
        genai_request_timestamp=datetime.fromtimestamp(NOVEMBER_2026, UTC),
    )
    usage = Usage(input_tokens=input_tokens, input_cache_read_tokens=read, output_tokens=output_tokens)
    expected = math.ceil(calculated.total_price * MILLION)
    assert cost(kind, model, usage) == expected
    worst = worst_case_micro_usd(kind, model, input_tokens, output_tokens)
    assert worst is not None
    assert worst >= expected


def test_names_are_read_without_regard_to_case() -> None:
    assert rates_of("openai", "GPT-4o") == rates_of("openai", "gpt-4o")


def test_the_list_is_the_one_that_the_locked_package_gives() -> None:
    source = price_source()
    assert RELEASED[source.version] == source.date
    assert genai_prices.__version__ == source.version
    assert hashlib.sha256(price_list().encode()).hexdigest() == source.sha256


def test_azures_models_cost_what_openais_do_where_it_has_no_price_of_its_own() -> None:
    assert rates_of("azure_openai", "gpt-4o") == rates_of("openai", "gpt-4o")
    assert rates_of("azure_openai", "my-deployment") is None
