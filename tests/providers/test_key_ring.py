"""providers/key_ring.py: whose turn it is, and how long each rests."""

from __future__ import annotations

import pytest

from waypost.providers.key_ring import KeyRing


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def labels(ring: KeyRing, count: int) -> list[str]:
    return [ring.next().key.label for _ in range(count)]


def test_ready_keys_take_turns(clock: Clock) -> None:
    assert labels(KeyRing(["a", "b", "c"], clock=clock), 7) == ["#1", "#2", "#3", "#1", "#2", "#3", "#1"]


def test_a_ring_needs_a_key(clock: Clock) -> None:
    with pytest.raises(ValueError, match="without keys"):
        KeyRing([], clock=clock)


def test_a_refused_key_rests_for_the_cool_down_and_the_others_go_on(clock: Clock) -> None:
    ring = KeyRing(["a", "b", "c"], 60, clock)
    assert ring.refused(ring.next().key) == 60
    assert labels(ring, 4) == ["#2", "#3", "#2", "#3"]
    clock.now += 60
    assert set(labels(ring, 3)) == {"#1", "#2", "#3"}


def test_each_further_refusal_doubles_the_rest_up_to_an_hour_and_one_success_forgets_them(clock: Clock) -> None:
    ring = KeyRing(["a"], 60, clock)
    key, rests = ring.keys[0], []
    for _ in range(9):
        rests.append(ring.refused(key))
        clock.now += rests[-1]
    assert rests == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    ring.accepted(key)
    assert ring.next().wait_s == 0
    assert ring.refused(key) == 60


def test_a_cool_down_over_an_hour_is_not_cut(clock: Clock) -> None:
    ring = KeyRing(["a"], 7200, clock)
    assert ring.refused(ring.keys[0]) == 7200


def test_calls_that_are_refused_together_count_once(clock: Clock) -> None:
    ring = KeyRing(["a", "b"], 60, clock)
    key = ring.keys[0]
    assert [ring.refused(key) for _ in range(5)] == [60] * 5
    clock.now += 60
    assert ring.refused(key) == 120


def test_a_limited_key_rests_as_long_as_the_provider_asked_else_for_the_cool_down(clock: Clock) -> None:
    ring = KeyRing(["a", "b"], 60, clock)
    first, second = ring.keys
    assert (ring.limited(first, 2.5), ring.limited(second, None)) == (2.5, 60)
    clock.now += 2.5
    assert labels(ring, 2) == ["#1", "#1"]


def test_a_shorter_limit_does_not_shorten_a_longer_one(clock: Clock) -> None:
    ring = KeyRing(["a"], 60, clock)
    ring.limited(ring.keys[0], 30)
    assert ring.limited(ring.keys[0], 1) == 30


def test_a_success_leaves_a_limit_in_force(clock: Clock) -> None:
    """Of two calls at once one may be let in and the other not."""
    ring = KeyRing(["a", "b"], 60, clock)
    ring.limited(ring.keys[0], 30)
    ring.accepted(ring.keys[0])
    assert labels(ring, 2) == ["#2", "#2"]


def test_when_all_rest_the_soonest_comes_with_its_wait(clock: Clock) -> None:
    ring = KeyRing(["a", "b", "c"], 60, clock)
    first, second, third = ring.keys
    ring.refused(first)
    ring.limited(second, 5)
    assert ring.has_ready()
    ring.limited(third, 9)
    clock.now += 1
    assert not ring.has_ready()
    following = ring.next()
    assert (following.key, following.wait_s) == (second, 4)


def test_no_text_form_shows_a_key(clock: Clock) -> None:
    ring = KeyRing(["SECRET"], clock=clock)
    assert "SECRET" not in f"{ring.next()!r} {ring.keys} {ring!r}"
    assert ring.next().key.secret == "SECRET"
