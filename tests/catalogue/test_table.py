"""catalogue/table.py: the rows of GET /v1/capabilities; and that the catalogue costs nothing to import."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime

from waypost.catalogue import PUBLISHED, CatalogueTarget, Need, PriceBook, PriceRule, capability_table
from waypost.catalogue.rates import Period, RateCard, Rates

NOVEMBER_2026 = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
TARGETS = (
    CatalogueTarget("claude", "anthropic", "claude-haiku-5-5"),
    CatalogueTarget("local", "llama_cpp", "smollm2-135m-instruct"),
    CatalogueTarget("vllm", "openai_compatible", None),
)


def test_one_row_a_target_in_their_order() -> None:
    rows = capability_table(TARGETS, at_s=NOVEMBER_2026)
    assert [(row["provider"], row["kind"], row["model"]) for row in rows] == [
        (target.provider, target.kind, target.model) for target in TARGETS
    ]
    assert all(row["capabilities"].keys() == set(Need) for row in rows)
    assert json.loads(json.dumps(rows)) == rows


def test_a_row_tells_limits_prices_and_sources() -> None:
    (row,) = capability_table(TARGETS[:1], at_s=NOVEMBER_2026)
    assert (row["context_window_tokens"], row["max_output_tokens"]) == (1_000_000, 128_000)
    assert row["capabilities"]["prefill"] is False
    assert row["prices"] == {
        "usd_per_million_tokens": {
            "input": 0.1,
            "cache_read": 0.01,
            "cache_write_5m": 0.125,
            "cache_write_1h": 0.2,
            "output": 0.5,
        },
        "longer_prompts": [
            {
                "over_tokens": 100_000,
                "usd_per_million_tokens": {
                    "input": 0.5,
                    "cache_read": 0.05,
                    "cache_write_5m": 0.625,
                    "cache_write_1h": 1.0,
                    "output": 2.5,
                },
            }
        ],
        "usd_per_thousand_web_searches": 10.0,
        "tiers": {
            "batch": {
                "usd_per_million_tokens": {
                    "input": 0.05,
                    "cache_read": 0.005,
                    "cache_write_5m": 0.0625,
                    "cache_write_1h": 0.1,
                    "output": 0.25,
                },
                "longer_prompts": [
                    {
                        "over_tokens": 100_000,
                        "usd_per_million_tokens": {
                            "input": 0.25,
                            "cache_read": 0.025,
                            "cache_write_5m": 0.3125,
                            "cache_write_1h": 0.5,
                            "output": 1.25,
                        },
                    }
                ],
                "usd_per_thousand_web_searches": 10.0,
            }
        },
    }
    assert [source["of"] for source in row["sources"]] == ["capabilities", "capabilities", "prices"]
    assert row["sources"][-1]["sha256"] == PUBLISHED.price_list.source.sha256
    assert all(source["date"] for source in row["sources"])


def test_the_local_model_is_told_as_free() -> None:
    (row,) = capability_table(TARGETS[1:2])
    assert row["prices"] == {"usd_per_million_tokens": {"input": 0.0, "output": 0.0}}
    assert {source["of"] for source in row["sources"]} == {"capabilities"}


def test_a_price_of_the_configuration_is_told_as_one() -> None:
    paid = Rates((Period(float("-inf"), (RateCard(input=70_000, output=300_000, reasoning=500_000),)),))
    (row,) = capability_table(TARGETS[:1], PriceBook([PriceRule("claude", "claude-haiku-*", paid)]))
    assert row["prices"] == {"usd_per_million_tokens": {"input": 0.07, "output": 0.3, "reasoning": 0.5}}
    assert row["sources"][-1] == {"of": "prices", "name": "configuration"}


def test_what_is_not_known_is_null() -> None:
    (row,) = capability_table(TARGETS[2:])
    assert set(row["capabilities"].values()) == {None}
    assert (row["context_window_tokens"], row["prices"], row["sources"]) == (None, None, [])


def test_importing_the_catalogue_reads_no_data_and_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "import waypost.catalogue\n"
        "from waypost.catalogue import capabilities, price_list\n"
        "print(sorted({'genai_prices', 'httpx2', 'pydantic', 'aiohttp', 'asyncio', 'fastapi'} & sys.modules.keys()))\n"
        "print(capabilities._facts.cache_info().currsize, price_list.packaged_prices.cache_info().currsize)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert told.stdout.split("\n")[:2] == ["[]", "0 0"]
