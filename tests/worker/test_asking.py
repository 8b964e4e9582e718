"""Claims about how long a part is asked about, with a clock that is told what time it is."""

from __future__ import annotations

from typing import Any

import pytest

from waypost.worker.asking import Patience


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def error(code: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "message": "m", "retryable": False, "retry_after_s": None, **more}


def waits(allow_offline: bool, *errors: dict[str, Any]) -> list[float | None]:
    """How long each of these failures, one after the other, is waited for; None: it was the last try."""
    clock = Clock()
    tries = Patience.of(allow_offline=allow_offline).tries(clock)
    found = []
    for each in errors:
        wait_s = tries.wait_s(each)
        clock.now_s += wait_s or 0
        found.append(wait_s)
    return found


OUTAGE = error("all_providers_failed", retryable=True)
LIMIT = error("rate_limit_exceeded", retry_after_s=45.0)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([OUTAGE] * 3, [2.0, 4.0, None]),
        ([{**OUTAGE, "retry_after_s": 7.0}] * 2, [7.0, 7.0]),
        ([{**OUTAGE, "retry_after_s": 900.0}], [60.0]),
        ([error("schema_not_met")], [None]),
        ([error("budget_exceeded", retry_after_s=3.0)], [None]),
        ([error("rate_limit_exceeded")], [None]),
        # Our own limits take none of the tries that providers have.
        ([LIMIT, LIMIT, LIMIT, OUTAGE, LIMIT, OUTAGE, OUTAGE], [45.0, 45.0, 45.0, 2.0, 45.0, 4.0, None]),
        ([LIMIT] * 21, [45.0] * 20 + [None]),
        ([error("server_busy", retry_after_s=2.0), error("database_unavailable", retry_after_s=1.0)], [2.0, 1.0]),
    ],
)
def test_how_long_a_failure_is_waited_for(errors: list[dict[str, Any]], expected: list[float | None]) -> None:
    assert waits(False, *errors) == expected


def test_where_something_stands_in_for_a_model_a_provider_is_asked_once() -> None:
    assert waits(True, OUTAGE) == [None]
    assert waits(True, LIMIT, LIMIT) == [45.0, None]
