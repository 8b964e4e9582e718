"""What a project and a key may be defined as, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from waypost.ledger.account import Limits
from waypost.ledger.definitions import (
    BUDGETS,
    KeyChange,
    LimitFields,
    NewKey,
    NewProject,
    ProjectChange,
    told_limits,
    told_time,
    unix_ms,
)
from waypost.store.tables import keys, projects

UNSHOWABLE = [
    "a\nb",
    "a\rb",
    "a\tb",
    "a\x00b",
    "\x1b[31mred",
    "a\x7fb",
    "a\x85b",
    "a\u2028b",
    "abc\u202edef",
    "a\u200bb",
    "\ud800",
    "\ufeffa",
]
"""Line ends, a terminal's commands, and what turns or hides text."""


@pytest.mark.parametrize("text", UNSHOWABLE)
@pytest.mark.parametrize(
    "written",
    [
        lambda text: {"name": text},
        lambda text: {"name": "n", "routes": ["a", text]},
        lambda text: {"name": "n", "tags": {"team": text}},
        lambda text: {"name": "n", "tags": {text: "a"}},
        lambda text: {"name": "n", "expires_at": text},
    ],
)
def test_no_field_takes_what_cannot_be_shown_on_a_line(written: Any, text: str) -> None:
    with pytest.raises(ValidationError):
        NewKey.model_validate(written(text))


@pytest.mark.parametrize("name", ["search", "Søk og finn", "поиск", "a 'quoted' \"name\"; --", "x" * 100, "<b>&amp;"])
def test_names_are_any_text_of_one_line(name: str) -> None:
    assert NewProject.model_validate({"name": name}).name == name


BAD: list[dict[str, Any]] = [
    {},
    {"name": ""},
    {"name": " a"},
    {"name": "a "},
    {"name": "x" * 101},
    {"name": 5},
    {"name": None},
    {"name": "a", "unknown": 1},
    {"name": "a", "requests_per_minute": 0},
    {"name": "a", "requests_per_minute": -1},
    {"name": "a", "requests_per_minute": 1.5},
    {"name": "a", "requests_per_minute": "10"},
    {"name": "a", "requests_per_minute": True},
    {"name": "a", "tokens_per_minute": 10**13},
    {"name": "a", "concurrent_requests": 10**7},
    {"name": "a", "daily_budget_usd": 0},
    {"name": "a", "daily_budget_usd": -5},
    {"name": "a", "daily_budget_usd": 0.0000001},
    {"name": "a", "daily_budget_usd": float("inf")},
    {"name": "a", "daily_budget_usd": float("nan")},
    {"name": "a", "daily_budget_usd": 1e10},
    {"name": "a", "routes": []},
    {"name": "a", "routes": [""]},
    {"name": "a", "routes": ["x"] * 101},
    {"name": "a", "routes": "x"},
    {"name": "a", "tags": {"two words": "x"}},
    {"name": "a", "tags": {"a=b": "x"}},
    {"name": "a", "tags": {"": "x"}},
    {"name": "a", "tags": {"t": 1}},
    {"name": "a", "tags": {"t": "x" * 129}},
    {"name": "a", "tags": {f"t{number}": "" for number in range(51)}},
    {"name": "a", "warn_at": [0]},
    {"name": "a", "warn_at": [1.1]},
    {"name": "a", "warn_at": [0.1] * 11},
    {"name": "a", "require_pricing": None},
    {"name": "a", "expires_at": "2027-01-31"},
    {"name": "a", "expires_at": "2027-01-31T00:00:00"},
    {"name": "a", "expires_at": "tomorrow"},
    {"name": "a", "expires_at": 1_800_000_000_000},
]


@pytest.mark.parametrize("written", BAD, ids=str)
def test_what_is_out_of_its_limits_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NewKey.model_validate(written)


def test_a_change_names_only_what_is_to_change_and_null_takes_a_limit_away() -> None:
    change = KeyChange.model_validate({"requests_per_minute": None, "daily_budget_usd": 12.345678})
    assert change.columns() == {"requests_per_minute": None, "daily_budget_micro_usd": 12_345_678}
    assert ProjectChange.model_validate({}).columns() == {}
    with pytest.raises(ValidationError):
        KeyChange.model_validate({"name": ""})


@pytest.mark.parametrize("amount", [0.1, 0.29, 1.1, 19.99, 0.000001, 1_000_000_000, 123456789.123457])
def test_dollars_become_whole_micro_dollars_and_come_back_as_they_were(amount: float) -> None:
    columns = LimitFields.model_validate({"monthly_budget_usd": amount}).columns()
    told = told_limits(Limits(**columns), {})
    assert columns["monthly_budget_micro_usd"] == round(amount * 10**6)
    assert told["monthly_budget_usd"] == amount


def test_shares_are_in_order_and_each_once() -> None:
    assert LimitFields.model_validate({"warn_at": [1, 0.5, 1.0]}).warn_at == [0.5, 1]


def test_times_come_back_in_utc() -> None:
    assert told_time(unix_ms("2027-01-31T12:00:00+02:00")) == "2027-01-31T10:00:00.000Z"
    assert told_time(unix_ms("2027-01-31T12:00:00.25Z")) == "2027-01-31T12:00:00.250Z"
    assert told_time(None) is None


def test_every_limit_of_the_tables_can_be_defined_and_is_told() -> None:
    """A column that is added to both tables must be here too."""
    own = {"id", "name", "created_at_ms", "updated_at_ms"}
    columns = {
        f"{field.removesuffix('_usd')}_micro_usd" if field.endswith("_usd") else field
        for field in LimitFields.model_fields
    }
    assert columns == {column.name for column in projects.columns} - own - {"store_bodies"}
    assert columns <= {column.name for column in keys.columns}
    assert set(told_limits(Limits(), {})) == set(LimitFields.model_fields)
    assert {f"{budget}_usd" for budget in BUDGETS} == {name for name in LimitFields.model_fields if "usd" in name}


@pytest.mark.parametrize("model", [ProjectChange, KeyChange])
def test_the_schema_of_a_change_promises_no_default(model: type[LimitFields]) -> None:
    assert all("default" not in field for field in model.model_json_schema()["properties"].values())
    assert all(field.get("description") for field in model.model_json_schema()["properties"].values())
