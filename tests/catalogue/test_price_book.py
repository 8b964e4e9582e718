"""catalogue/prices.py and configured.py: whose price holds for a target, by which of its names, and from where."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from waypost.catalogue import PUBLISHED, PriceBook
from waypost.catalogue.configured import HOSTS, price_book
from waypost.catalogue.price_list import packaged_prices
from waypost.catalogue.prices import MOST_TARGETS
from waypost.chat import Usage
from waypost.settings import Settings

ONE = Usage(input_tokens=1_000_000, output_tokens=0)
"""Costs what input does, in micro-dollars."""
PROVIDERS = {
    "openai": {"kind": "openai"},
    "openai-eu": {"kind": "openai"},
    "mine": {"kind": "openai_compatible", "base_url": "http://127.0.0.1:1/v1"},
    "azure": {"kind": "azure_openai", "base_url": "https://ours.openai.azure.com"},
    "local": {"kind": "llama_cpp"},
}


def book(prices: dict[str, Any], **more: Any) -> PriceBook:
    return price_book(Settings.model_validate({"providers": PROVIDERS, "prices": prices, **more}))


def at(usd: float) -> dict[str, float]:
    return {"input": usd}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        # A provider's name before its kind, a kind before a pattern; a model's name before a pattern.
        (("openai-eu", "openai", "gpt-4o"), 1),
        (("openai-eu", "openai", "gpt-4o-mini"), 2),
        (("openai", "openai", "gpt-4o"), 3),
        (("openai", "openai", "gpt-4o-mini"), 4),
        (("openai", "openai", "gpt-4o-nano"), 5),
        (("openai", "openai", "o3"), 6),
        (("mine", "openai_compatible", "o3"), 7),
        (("mine", "openai_compatible", "org/llama"), 8),
        (("MINE", "openai_compatible", "ORG/Llama"), 8),
        (("azure", "azure_openai", "our-deployment"), 9),
    ],
)
def test_the_closest_price_of_the_configuration_holds(target: tuple[str, str, str], expected: int) -> None:
    prices = {
        "*/*": at(7),
        "openai/*": at(6),
        "openai/gpt-4*": at(5.5),
        "openai/gpt-4o-*": at(5),
        "openai/gpt-4o-m*": at(4),
        "openai/gpt-4o": at(3),
        "openai-eu/*": at(2),
        "openai-eu/gpt-4o": at(1),
        "mine/org/*": at(8),
        "azure/our-deployment": at(9),
    }
    assert book(prices).cost_micro_usd(*target, ONE) == expected * 1_000_000
    assert book(prices).source(*target) == "configuration"


def test_of_two_prices_as_close_the_first_in_the_file_holds() -> None:
    assert book({"mine/a*c": at(1), "mine/ab*": at(2)}).cost_micro_usd("mine", "openai_compatible", "abc", ONE) == 10**6


def test_only_the_star_is_special_in_a_pattern() -> None:
    prices = book({"mine/m[1]?*": at(1)})
    assert prices.source("mine", "openai_compatible", "m[1]?x") == "configuration"
    assert prices.source("mine", "openai_compatible", "m12x") is None


def test_a_price_is_known_by_the_name_that_was_asked_for_too() -> None:
    """Azure answers with the model, not the deployment; OpenAI with the dated name."""
    prices = book({"azure/our-deployment": at(9), "openai/gpt-4o": at(3)})
    azure, openai = ("azure", "azure_openai", "gpt-4o-2024-08-06"), ("openai", "openai", "gpt-4o-2024-08-06")
    assert prices.cost_micro_usd(*azure, ONE, asked="our-deployment") == 9_000_000
    assert prices.cost_micro_usd(*azure, ONE, asked="another") == 2_500_000
    assert prices.cost_micro_usd(*openai, ONE, asked="gpt-4o") == 3_000_000
    bedrock = ("aws", "bedrock", "claude-haiku-4-5-20251001")
    assert prices.cost_micro_usd(*bedrock, ONE, asked="eu.anthropic.claude-haiku-4-5-20251001-v1:0") == 1_100_000
    assert prices.cost_micro_usd(*bedrock, ONE, asked="global.anthropic.claude-haiku-4-5-20251001-v1:0") == 1_000_000


def test_a_name_that_answered_and_has_no_price_is_not_priced_as_the_one_asked_for() -> None:
    assert PUBLISHED.cost_micro_usd("o", "openai", "gpt-image-1", ONE, asked="gpt-4o") is None


def test_a_price_of_the_configuration_says_all() -> None:
    """What it does not name is not taken from the list: unknown stays unknown."""
    prices = book({"openai/gpt-4o": {"input": 2, "output": 8, "tiers": {"Batch": {"input": 1}}}})
    target = ("openai", "openai", "gpt-4o")
    usage = Usage(input_tokens=1000, output_tokens=100)
    assert prices.cost_micro_usd(*target, replace(usage, input_cache_read_tokens=500)) == 2000 + 800
    assert prices.cost_micro_usd(*target, replace(usage, service_tier="batch")) == 1000 + 800
    assert prices.cost_micro_usd(*target, replace(usage, service_tier="flex")) is None
    assert prices.cost_micro_usd(*target, replace(usage, server_tool_calls={"web_search": 1})) is None


def test_longer_prompts_keep_the_prices_that_they_do_not_change() -> None:
    price = {
        "input": 1,
        "cache_read": 0.1,
        "output": 4,
        "reasoning": 6,
        "longer_prompts": [{"over": 1000, "input": 2}],
        "tiers": {"flex": {"input": 0.5, "longer_prompts": [{"over": 500, "output": 1}]}},
    }
    prices, target = book({"mine/m": price}), ("mine", "openai_compatible", "m")

    def cost(tokens: int, tier: str | None = None) -> int | None:
        usage = Usage(
            input_tokens=tokens,
            input_cache_read_tokens=100,
            output_tokens=100,
            output_reasoning_tokens=50,
            service_tier=tier,
        )
        return prices.cost_micro_usd(*target, usage)

    assert cost(1000) == 900 * 1 + 10 + 50 * 4 + 50 * 6
    assert cost(1100) == 1000 * 2 + 10 + 50 * 4 + 50 * 6
    assert cost(500, "flex") == 400 // 2 + 10 + 50 * 4 + 50 * 6
    assert cost(600, "flex") == 500 // 2 + 10 + 50 * 1 + 50 * 6
    assert prices.worst_case_micro_usd(*target, 1100, 100) == 2200 + 600


def test_what_is_free_costs_nothing_whatever_was_counted() -> None:
    prices = book({"mine/*": {"free": True}})
    target = ("mine", "openai_compatible", "m")
    assert prices.cost_micro_usd(*target, Usage()) == 0
    assert prices.cost_micro_usd(*target, Usage(input_tokens=1, server_tool_calls={"dig": 3}, service_tier="odd")) == 0
    assert prices.worst_case_micro_usd(*target, 10**6) == 0


def test_a_model_of_ones_own_may_be_given_a_price() -> None:
    target = ("local", "llama_cpp", "smollm2-135m-instruct")
    assert (book({}).cost_micro_usd(*target, ONE), book({}).source(*target)) == (0, "this machine")
    assert book({"llama_cpp/*": at(0.02)}).cost_micro_usd(*target, ONE) == 20_000


def test_the_source_says_package_day_and_hash() -> None:
    source = packaged_prices().source
    assert book({}).source("openai", "openai", "gpt-4o") == (
        f"genai-prices {source.version} {source.date} sha256:{source.sha256[:8]}"
    )
    assert len(f"{source}") < 100
    assert book({}).source("openai", "openai", "gpt-unheard-of") is None


@pytest.mark.parametrize("host", HOSTS)
def test_every_host_s_vendor_has_a_list(host: str) -> None:
    assert packaged_prices().providers[HOSTS[host]]


def test_a_newer_list_in_the_data_folder_is_used(tmp_path: Path) -> None:
    put(tmp_path, date="2999-01-01", input=1_000_000)
    prices = book({}, data_dir=str(tmp_path))
    assert prices.cost_micro_usd("openai", "openai", "gpt-4o", ONE) == 1_000_000
    assert str(prices.source("openai", "openai", "gpt-4o")).startswith("ours 2999-01-01 sha256:")
    assert prices.source("openai", "openai", "gpt-5.4") is None


@pytest.mark.parametrize("broken", ["", "{", '{"source": {}}', "[]"])
def test_a_broken_list_is_told_and_the_packaged_one_used(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "prices.json").write_text(broken)
    with caplog.at_level(logging.WARNING):
        assert book({}, data_dir=str(tmp_path)).cost_micro_usd("openai", "openai", "gpt-4o", ONE) == 2_500_000
    assert f"{tmp_path / 'prices.json'} is not used" in caplog.text


def test_an_older_list_in_the_data_folder_is_left_alone(tmp_path: Path) -> None:
    put(tmp_path, date="2020-01-01", input=1)
    assert book({}, data_dir=str(tmp_path)).cost_micro_usd("openai", "openai", "gpt-4o", ONE) == 2_500_000


def put(folder: Path, *, date: str, **rates: int) -> None:
    row = {"id": "m", "match": {"equals": "gpt-4o"}, "periods": [{"from": None, "cards": [{"output": 0, **rates}]}]}
    document = {"source": {"name": "ours", "date": date}, "providers": {"openai": [row]}}
    (folder / "prices.json").write_text(json.dumps(document))


def test_what_is_remembered_ends_somewhere() -> None:
    prices = PriceBook()
    for number in range(MOST_TARGETS + 10):
        prices.price("o", "openai", f"no-such-model-{number}")
    assert len(prices._known) <= MOST_TARGETS
