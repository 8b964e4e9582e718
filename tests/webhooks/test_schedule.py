"""When a message is tried again, by a clock and chances that the test gives."""

from __future__ import annotations

from random import Random

import pytest

from waypost.webhooks.schedule import BACKOFF_S, MOST_ATTEMPTS, RETRY_AFTER_LIMIT_S, Following, following, wait_s

NOW = 1_795_694_400_000


def highest() -> float:
    return 0.999_999


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_has_arrived(status: int) -> None:
    assert following(1, status, NOW, highest) == Following("delivered")


@pytest.mark.parametrize("status", [None, 100, 301, 308, 400, 401, 404, 408, 429, 500, 503, 599])
def test_all_else_is_tried_again_until_the_tries_are_used_up(status: int | None) -> None:
    for attempt in range(1, MOST_ATTEMPTS):
        then = following(attempt, status, NOW, highest)
        assert then.state == "pending"
        assert then.next_attempt_at_ms == pytest.approx(NOW + BACKOFF_S[attempt - 1] * 1000, abs=100)
    assert following(MOST_ATTEMPTS, status, NOW, highest) == Following("failed")
    assert following(MOST_ATTEMPTS + 3, status, NOW, highest) == Following("failed")


def test_410_ends_it_at_once() -> None:
    assert following(1, 410, NOW, highest) == Following("gone")


def test_waits_are_spread_over_all_of_the_backoff() -> None:
    chances = Random(7)  # noqa: S311 - no secret
    for attempt, limit_s in enumerate(BACKOFF_S, 1):
        waits = [wait_s(attempt, chances.random) for _ in range(400)]
        assert 0 <= min(waits) < 0.05 * limit_s < 0.95 * limit_s < max(waits) <= limit_s


@pytest.mark.parametrize(
    ("asked_s", "waited_s"), [(None, 2.5), (1.0, 2.5), (90.0, 90.0), (10**9, RETRY_AFTER_LIMIT_S), (0.0, 2.5)]
)
def test_a_receiver_s_wish_to_wait_is_heeded_within_reason(asked_s: float | None, waited_s: float) -> None:
    assert wait_s(1, lambda: 0.5, asked_s) == waited_s


@pytest.mark.parametrize("attempt", [0, -1, MOST_ATTEMPTS])
def test_there_is_no_wait_where_no_try_follows(attempt: int) -> None:
    with pytest.raises(ValueError, match=f"number {attempt}"):
        wait_s(attempt, highest)
