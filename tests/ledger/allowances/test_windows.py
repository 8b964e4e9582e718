"""ledger/allowances/windows.py: minutes, days and months of UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from waypost.ledger.allowances.windows import KEPT_S, Span, Windows, window_at


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("span", "moment", "name", "ends"),
    [
        ("minute", "2026-11-26T12:34:59.999", "2026-11-26T12:34", "2026-11-26T12:35:00"),
        ("minute", "2026-11-26T12:35:00", "2026-11-26T12:35", "2026-11-26T12:36:00"),
        ("day", "2026-11-26T23:59:59.999", "2026-11-26", "2026-11-27T00:00:00"),
        ("day", "2024-02-28T12:00:00", "2024-02-28", "2024-02-29T00:00:00"),
        ("month", "2026-12-31T23:59:59", "2026-12", "2027-01-01T00:00:00"),
        ("month", "2024-02-29T00:00:00", "2024-02", "2024-03-01T00:00:00"),
    ],
)
def test_a_window_is_that_of_the_clock_in_utc(span: Span, moment: str, name: str, ends: str) -> None:
    window = window_at(span, at(moment))
    assert (window.name, window.resets_at_s) == (name, at(ends))


def test_what_is_not_counted_by_time_never_resets() -> None:
    assert window_at("always", 1.0).resets_at_s is None


@given(st.sampled_from(["minute", "day", "month"]), st.floats(0, 4_102_444_800))
@example("month", 2051222399.9999995)
def test_windows_meet_without_gap_and_overlap(span: Span, at_s: float) -> None:
    window = window_at(span, at_s)
    assert window.starts_at_s <= at_s < window.ends_at_s
    assert window_at(span, window.ends_at_s).starts_at_s == window.ends_at_s
    assert window_at(span, window.ends_at_s).name > window.name


def test_a_window_is_the_same_one_as_long_as_it_is_kept() -> None:
    """A clock that is set back a little finds what was used before; long after its end a window is forgotten."""
    windows = Windows()
    first = windows.at("minute", 600.0)
    second = windows.at("minute", 660.0)
    assert windows.at("minute", 659.0) is first
    assert windows.at("minute", 661.0) is second
    windows.drop_ended(660.0 + KEPT_S - 1)
    assert windows.at("minute", 600.0) is first
    windows.drop_ended(660.0 + KEPT_S)
    assert set(windows) == {second}
    assert windows.at("minute", 600.0) is not first
