from __future__ import annotations

import pytest
from benchmarks.hotspots import by_package, hotspots, table

STACKS = """\
run (asyncio/runners.py:1);send (waypost/server/wire.py:9);write (uvicorn/http/impl.py:3) 6
run (asyncio/runners.py:1);send (waypost/server/wire.py:9) 2

run (asyncio/runners.py:1);again (json.py:4);again (json.py:4) 2
"""


def test_own_time_is_of_the_innermost_and_total_of_all_above_it() -> None:
    found = {spot.function: (spot.own, spot.total) for spot in hotspots(STACKS.splitlines())}
    assert found["write (uvicorn/http/impl.py:3)"] == (0.6, 0.6)
    assert found["send (waypost/server/wire.py:9)"] == (0.2, 0.8)
    assert found["run (asyncio/runners.py:1)"] == (0, 1)


def test_a_function_that_calls_itself_counts_once_a_sample() -> None:
    found = {spot.function: spot.total for spot in hotspots(STACKS.splitlines())}
    assert found["again (json.py:4)"] == 0.2


def test_the_one_with_the_most_own_time_comes_first() -> None:
    page = table(hotspots(STACKS.splitlines()), count=1)
    assert page.splitlines()[2:] == ["| 60.0 | 60.0 | write (uvicorn/http/impl.py:3) |"]


def test_packages_add_up_to_everything() -> None:
    shares = dict(by_package(hotspots(STACKS.splitlines())))
    assert shares == {"uvicorn/http": 0.6, "waypost/server": 0.2, "json.py": 0.2, "asyncio": 0}
    assert sum(shares.values()) == pytest.approx(1)


def test_no_sample_is_no_row() -> None:
    assert hotspots([]) == []
