"""catalogue/genai.py: the data of genai-prices as they are published, turned into a list of ours."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import genai_prices
import pytest
from genai_prices.data import providers

from waypost.catalogue.genai import MISSING, VENDORS, NotGenaiPrices, installed, price_list_text
from waypost.catalogue.price_list import PriceList, parse_price_list
from waypost.catalogue.prices import PriceBook
from waypost.chat import Usage

SOURCE = {"name": "genai-prices", "version": "9", "date": "2026-11-20"}


def convert(models: list[dict[str, Any]], vendor: str = "openai") -> PriceList:
    published = json.loads(json.dumps([{"id": vendor, "models": models}]), parse_float=Decimal)
    return parse_price_list(price_list_text(published, SOURCE).encode())


def model(prices: Any, **more: Any) -> dict[str, Any]:
    return {"id": "m", "match": {"equals": "m"}, "prices": prices, **more}


def cost(price_list: PriceList, usage: Usage, day: str = "2026-11-20") -> int | None:
    at_s = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    return PriceBook(read=lambda: price_list).cost_micro_usd("o", "openai", "m", usage, at_s)


def test_steps_days_and_variants_meet() -> None:
    price_list = convert(
        [
            model(
                [
                    {"prices": {"input_mtok": 1, "output_mtok": 2}},
                    {
                        "constraint": {"start_date": "2026-06-01"},
                        "prices": {
                            "input_mtok": {"base": 0.5, "tiers": [{"start": 1000, "price": 0.7}]},
                            "output_mtok": 2,
                        },
                    },
                ],
                price_variants=[
                    {
                        "when": {"processing": "batch"},
                        "prices": {"input_mtok": 0.25},
                        "constraint": {"start_date": "2026-07-01"},
                    },
                    {"when": {"speed": "fast"}, "prices": {"input_mtok": 3}},
                ],
            )
        ]
    )
    usage = Usage(input_tokens=1000, output_tokens=100)
    assert cost(price_list, usage, "2026-05-31") == 1000 + 200
    assert cost(price_list, usage, "2026-06-01") == 500 + 200
    assert cost(price_list, Usage(input_tokens=2000, output_tokens=0)) == 1400
    batch = Usage(input_tokens=1000, output_tokens=100, service_tier="batch")
    assert cost(price_list, batch, "2026-06-30") is None
    assert cost(price_list, batch) == 250 + 200
    assert cost(price_list, Usage(input_tokens=1000, output_tokens=100, service_tier="fast")) == 3000 + 200


@pytest.mark.parametrize(
    "prices",
    [
        {"input_mtok": 1, "output_mtok": 1, "output_image_mtok": 30},
        {"input_mtok": 1, "output_mtok": 1, "requests_kcount": 5},
        {"audio_hours": 1},
        {"input_mtok": 1, "input_image_mtok": 2},
        {"input_mtok": 0.0000001},
    ],
)
def test_what_tokens_cannot_tell_has_no_price(prices: Any) -> None:
    """But its row stays, so that no later row is taken for it."""
    price_list = convert([model(prices), model({"input_mtok": 5, "output_mtok": 5})])
    assert cost(price_list, Usage(input_tokens=1, output_tokens=1)) is None


def test_prices_that_say_nothing_new_do_no_harm() -> None:
    price_list = convert(
        [model({"input_mtok": 1, "input_image_mtok": 1, "output_mtok": 1, "storage_searches_kcount": 2})]
    )
    assert cost(price_list, Usage(input_tokens=1, output_tokens=1)) == 2


@pytest.mark.parametrize(
    "published",
    [
        None,
        {},
        [],
        [1],
        [{"id": "openai"}],
        [{"id": "openai", "models": [{"id": "m"}]}],
        [{"id": "openai", "models": [model({"input_mtok": "dear"})]}],
        [{"id": "openai", "models": [model({"input_mtok": -1})]}],
        [{"id": "openai", "models": [model([])]}],
        [{"id": "openai", "models": [model([{"prices": {"input_mtok": 1}}, {"constraint": {"x": 1}, "prices": {}}])]}],
    ],
)
def test_anything_else_is_refused(published: Any) -> None:
    with pytest.raises((NotGenaiPrices, ValueError)):
        parse_price_list(price_list_text(published, SOURCE).encode()).check()


def test_what_is_added_is_still_missing_upstream() -> None:
    """A price that genai-prices has by now must not be added any more."""
    known = {(provider.id, each.id): each for provider in providers for each in provider.models}
    for key, prices in MISSING.items():
        assert not vars(known[key].prices).keys() & prices.keys()


@pytest.mark.parametrize("vendor", ["anthropic", "openai", "google", "aws", "groq", "mistral", "x-ai", "together"])
def test_every_vendor_s_prices_are_those_that_genai_prices_works_out(vendor: str) -> None:
    """Of each model with a price, one request on one day, in our integers and in its decimals."""
    price_list = parse_price_list(price_list_text(installed(), SOURCE).encode())
    moment = datetime(2026, 11, 20, 12, tzinfo=UTC)
    book = PriceBook(vendors={"it": (vendor,)}, read=lambda: price_list)
    (provider,) = (each for each in providers if each.id == vendor)
    compared = 0
    for known in provider.models:
        row = price_list.row([vendor], known.id)
        if row is None or not row.periods or row.id != known.id:
            continue
        usage = genai_prices.Usage(input_tokens=250_001, cache_read_tokens=1000, output_tokens=777)
        told = genai_prices.calc_price(usage, known.id, provider_id=vendor, genai_request_timestamp=moment)
        ours = Usage(input_tokens=250_001, input_cache_read_tokens=1000, output_tokens=777)
        cost = book.cost_micro_usd("it", "any", known.id, ours, moment.timestamp())
        if cost is None:
            assert "output_mtok" not in vars(told.model_price), known.id
            continue
        assert cost == math.ceil(told.total_price * 1_000_000), known.id
        compared += 1
    assert compared > 5


def test_the_vendors_are_those_that_it_has() -> None:
    assert set(VENDORS) <= {provider.id for provider in providers}
