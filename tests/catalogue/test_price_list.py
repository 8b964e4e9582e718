"""catalogue/price_list.py: a list is right in every part, or is no list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from waypost.catalogue.price_list import (
    MAX_LIST_BYTES,
    PriceSource,
    packaged_prices,
    parse_price_list,
    read_price_list,
)

MODEL: dict[str, Any] = {
    "id": "m",
    "match": {"equals": "m"},
    "periods": [{"from": None, "cards": [{"over": 0, "input": 1, "output": 2}]}],
}


def listed(**changes: Any) -> bytes:
    document = {"source": {"name": "ours", "date": "2026-11-20"}, "providers": {"openai": [{**MODEL, **changes}]}}
    return json.dumps(document).encode()


def period(**changes: Any) -> dict[str, Any]:
    return {"periods": [{**MODEL["periods"][0], **changes}]}


def test_the_packaged_list_is_right() -> None:
    packaged_prices().check()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "truncated"),
        (b"\xff", "malformed"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `source`"),
        (listed(match={}), "a match holds exactly one test"),
        (listed(match={"equals": "a", "contains": "b"}), "a match holds exactly one test"),
        (listed(match={"resembles": "a"}), "unknown field `resembles`"),
        (listed(match={"or": [{"equals": 1}]}), r"Expected `str | null`, got `int`"),
        (listed(**period(cards=[])), "cards begin with over 0"),
        (listed(**period(cards=[{"over": 5, "input": 1}])), "cards begin with over 0"),
        (listed(**period(cards=[{"input": 1}, {"over": 9}, {"over": 9}])), "cards begin with over 0 and rise"),
        (listed(**period(cards=[{"input": -1}])), ">= 0"),
        (listed(**period(cards=[{"input": 10**14}])), "<= 10000000000000"),
        (listed(**period(cards=[{"input": 0.5}])), "got `float`"),
        (listed(**period(cards=[{"inptu": 5}])), "unknown field `inptu`"),
        (listed(periods=[{"from": "soon", "cards": [{"input": 1}]}]), "RFC3339"),
        (listed(**period(daily=["1", "2"])), "RFC3339"),
        (listed(price=3), "unknown field `price`"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(data: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("|", r"\|")):
        parse_price_list(data)


@pytest.mark.parametrize(
    ("data", "told"), [(listed(match={"regex": "("}), "no regular expression"), (listed(periods=[]), "holds no price")]
)
def test_what_reading_leaves_for_later_is_checked(data: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_price_list(data).check()


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    with file.open("wb") as opened:
        opened.truncate(MAX_LIST_BYTES + 1)
    with pytest.raises(ValueError, match="over the limit"):
        read_price_list(file)


@pytest.mark.parametrize(
    ("test", "name", "fits"),
    [
        ({"equals": "A"}, "a", True),
        ({"equals": "a"}, "ab", False),
        ({"starts_with": "A"}, "ab", True),
        ({"ends_with": "B"}, "ab", True),
        ({"contains": "B"}, "abc", True),
        ({"regex": "^a\\d$"}, "a1", True),
        ({"or": [{"equals": "x"}, {"equals": "a"}]}, "A", True),
        ({"and": [{"contains": "a"}, {"contains": "b"}]}, "ab", True),
        ({"and": [{"contains": "a"}, {"contains": "b"}]}, "a", False),
        ({"or": []}, "a", False),
    ],
)
def test_a_row_fits_by_its_test(test: dict[str, Any], name: str, fits: bool) -> None:
    assert (parse_price_list(listed(match=test)).row(["openai"], name) is not None) is fits


def test_prices_within_hours_of_the_day_may_go_over_midnight() -> None:
    """22:00 to 02:00 UTC."""
    usual, night = (
        MODEL["periods"][0],
        {"from": "2026-01-01", "cards": [{"input": 9}], "daily": ["22:00:00", "02:00:00"]},
    )
    row = parse_price_list(listed(periods=[usual, night])).row(["openai"], "m")
    rates = row.rates() if row is not None else None
    assert rates is not None
    day = 20_454 * 86_400  # 2026-01-01
    hours = {hour: rates.period(None, day + hour * 3600) for hour in (0, 1, 2, 12, 21, 22, 23)}
    dear = {hour for hour, held in hours.items() if held is not None and held.cards[0].input == 9}
    assert dear == {0, 1, 22, 23}
    before = rates.period(None, day - 3600)
    assert before is not None
    assert before.cards[0].input == 1, "that is 23:00, but before the prices began"


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [
        (("genai-prices", "0.2.10", "2026-01-01"), ("genai-prices", "0.2.9", "2026-02-01"), True),
        (("genai-prices", "0.2.9", "2026-02-01"), ("genai-prices", "0.2.10", "2026-01-01"), False),
        (("genai-prices", "", "2026-02-01"), ("genai-prices", "0.2.9", "2026-01-01"), True),
        (("ours", "1", "2026-01-01"), ("genai-prices", "0.2.9", "2026-01-01"), False),
        (("ours", "1", "2026-01-02"), ("genai-prices", "0.2.9", "2026-01-01"), True),
    ],
)
def test_newer_is_by_version_of_one_package_and_else_by_day(
    one: tuple[str, str, str], other: tuple[str, str, str], newer: bool
) -> None:
    assert PriceSource(*one, "0" * 64).is_newer_than(PriceSource(*other, "1" * 64)) is newer
