"""The laws of merging usage: what is reported replaces, what is not reported stays, None never means zero."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.chat import Usage
from waypost.chat.usage import COUNTS

counts = st.none() | st.integers(0, 1_000_000)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    item.name: counts for item in fields(Usage) if item.name not in ("server_tool_calls", "service_tier")
}
FIELDS["server_tool_calls"] = st.dictionaries(st.sampled_from(["web_search", "web_fetch"]), st.integers(0, 9))
FIELDS["service_tier"] = st.none() | st.sampled_from(["standard", "priority", ""])
usages = st.builds(Usage, **FIELDS)


def reported(usage: Usage) -> dict[str, Any]:
    """The fields that say something."""
    values = {item.name: getattr(usage, item.name) for item in fields(Usage)}
    return {name: value for name, value in values.items() if value is not None and value != {}}


@settings(max_examples=100, deadline=None)
@given(usages, usages, usages)
def test_merge_is_associative(first: Usage, second: Usage, third: Usage) -> None:
    """So updates may be put together in any grouping, as recovery does with those of one attempt."""
    assert first.merge(second).merge(third) == first.merge(second.merge(third))


@settings(max_examples=50, deadline=None)
@given(usages)
def test_nothing_reported_changes_nothing(usage: Usage) -> None:
    assert usage.merge(Usage()) == usage
    assert Usage().merge(usage) == usage
    assert usage.merge(usage) == usage


@settings(max_examples=100, deadline=None)
@given(usages, usages)
def test_the_later_report_wins_field_by_field_and_none_erases_nothing(earlier: Usage, later: Usage) -> None:
    assert reported(earlier.merge(later)) == reported(earlier) | reported(later)


def test_zero_is_a_report() -> None:
    """Zero replaces a count: it is not the same as silence."""
    assert Usage(output_tokens=5).merge(Usage(output_tokens=0)).output_tokens == 0


def test_what_was_never_reported_is_none() -> None:
    """Unknown is a value: a price made of zeros would be a lie."""
    assert reported(Usage()) == {}
    assert Usage().input_tokens is None


def test_a_negative_count_is_taken_as_not_reported() -> None:
    """And every count is looked at."""
    negative: dict[str, Any] = dict.fromkeys(COUNTS, -1)
    assert Usage(**negative) == Usage()
    assert {item.name for item in fields(Usage) if item.name.endswith("_tokens")} == set(COUNTS)
    assert Usage(input_tokens=0, output_tokens=-7) == Usage(input_tokens=0)
