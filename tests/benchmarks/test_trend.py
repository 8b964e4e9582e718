from __future__ import annotations

import pytest
from benchmarks.trend import is_flat, settled, trend


def test_a_leak_is_found_under_the_noise() -> None:
    points = [(minute / 60, 60 + minute / 10 + (minute % 3)) for minute in range(60)]
    found = trend(points)
    assert found.mb_an_hour == pytest.approx(6, abs=0.3)
    assert not is_flat(found)


def test_one_burst_does_not_make_a_leak() -> None:
    points = [(minute / 60, 300.0 if minute == 58 else 60.0) for minute in range(60)]
    assert is_flat(trend(points))
    assert trend(points).mb_an_hour == 0


def test_what_fills_at_the_beginning_is_left_out() -> None:
    points = [(minute / 60, 40.0 + min(minute, 10)) for minute in range(60)]
    assert is_flat(trend(settled(points)))
    assert settled(points)[0][0] == pytest.approx(0.2, abs=0.02)


def test_memory_that_shrinks_is_flat() -> None:
    assert is_flat(trend([(0, 80.0), (0.5, 70.0), (1, 60.0)]))


def test_a_single_point_has_no_trend() -> None:
    with pytest.raises(ValueError, match="two moments"):
        trend([(0, 80.0)])
