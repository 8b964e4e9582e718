"""gateway/balance.py: the order in which a route's targets are asked."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.gateway.balance import EXPLORATION_SHARE, LatencyBoard, Strategy, order

NAMES = ["a", "b", "c", "d"]


def never() -> float:
    """A chance that explores nothing."""
    return 0.999


def dice() -> Callable[[], float]:
    """The same numbers in every run."""
    return random.Random(7).random  # noqa: S311


@given(
    st.lists(st.tuples(st.integers(), st.sampled_from([0.0, 0.5, 1.0, 1e9])), max_size=8, unique_by=lambda row: row[0]),
    st.sampled_from(["priority", "weighted", "least_latency"]),
    st.dictionaries(st.integers(), st.none() | st.floats(0, 100)),
    st.randoms(use_true_random=False),
)
def test_every_target_is_there_once_and_last_resorts_come_last(
    rows: list[tuple[int, float]], strategy: Strategy, latencies: dict[int, float | None], chances: random.Random
) -> None:
    targets, weights = [target for target, _ in rows], [weight for _, weight in rows]
    ordered = order(targets, strategy, chances.random, weights, latencies)
    assert sorted(ordered) == sorted(targets)
    if strategy != "priority":
        weight_of = dict(rows)
        last_resorts = [target for target in targets if not weight_of[target]]
        assert ordered[len(targets) - len(last_resorts) :] == last_resorts


def test_priority_is_the_order_as_written() -> None:
    assert order(NAMES, "priority", never, [0, 1, 2, 3], {"d": 0.1}) == NAMES


def test_who_is_first_converges_to_the_weights_and_who_is_second_to_those_of_the_rest() -> None:
    """10,000 drawings: within two points of a hundred of each share."""
    chance = dice()
    drawn = [order(NAMES, "weighted", chance, [5, 3, 2, 0]) for _ in range(10_000)]
    firsts = Counter(ordered[0] for ordered in drawn)
    for name, share in zip(NAMES, [0.5, 0.3, 0.2, 0.0], strict=True):
        assert firsts[name] / 10_000 == pytest.approx(share, abs=0.02)
    seconds = Counter(ordered[1] for ordered in drawn if ordered[0] == "a")
    assert seconds["b"] / firsts["a"] == pytest.approx(0.6, abs=0.02)


def test_without_weights_all_are_alike() -> None:
    chance = dice()
    firsts = Counter(order(NAMES, "weighted", chance)[0] for _ in range(10_000))
    assert all(firsts[name] / 10_000 == pytest.approx(0.25, abs=0.02) for name in NAMES)


def test_weights_that_do_not_fit_the_targets_are_refused() -> None:
    with pytest.raises(ValueError, match="4 targets have 1 weights"):
        order(NAMES, "weighted", never, [1.0])


def test_the_fastest_is_first_the_never_asked_before_it_and_those_without_an_answer_after_it() -> None:
    assert order(NAMES, "least_latency", never, (), {"a": 0.9, "b": None, "c": 0.2}) == ["d", "c", "a", "b"]


def test_now_and_then_another_than_the_fastest_is_first() -> None:
    chance = dice()
    latencies: dict[str, float | None] = {"a": 0.1, "b": 0.2, "c": 0.3, "d": None}
    firsts = Counter(order(NAMES, "least_latency", chance, (), latencies)[0] for _ in range(20_000))
    assert 1 - firsts["a"] / 20_000 == pytest.approx(EXPLORATION_SHARE, abs=0.01)
    for name in "bcd":
        assert firsts[name] / 20_000 == pytest.approx(EXPLORATION_SHARE / 3, abs=0.01)


@dataclass
class Clock:
    """Seconds that move when the test says so."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_target_never_asked_is_tried_first_once_and_then_waits_for_its_answer() -> None:
    board = LatencyBoard[str](clock=Clock())
    board.answered("a", 0.5)
    assert order(["a", "b"], "least_latency", never, (), board.latencies()) == ["b", "a"]
    board.asked("b")
    assert order(["a", "b"], "least_latency", never, (), board.latencies()) == ["a", "b"]
    board.answered("b", 0.1)
    assert order(["a", "b"], "least_latency", never, (), board.latencies()) == ["b", "a"]


def test_after_a_half_life_old_and_new_count_the_same_whatever_the_number_of_calls() -> None:
    clock = Clock()
    board = LatencyBoard[str](half_life_s=60, clock=clock)
    board.answered("a", 1.0)
    clock.now_s += 60
    board.asked("a")
    board.answered("a", 3.0)
    assert board.latencies()["a"] == pytest.approx(2.0)


def test_calls_of_the_same_instant_move_the_mean_by_a_tenth() -> None:
    board = LatencyBoard[str](clock=Clock())
    board.answered("a", 1.0)
    board.answered("a", 2.0)
    assert board.latencies()["a"] == pytest.approx(1.1)


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 100)), min_size=1, max_size=20))
def test_the_mean_is_never_outside_of_what_was_measured(calls: list[tuple[float, float]]) -> None:
    clock = Clock()
    board = LatencyBoard[str](clock=clock)
    for pause_s, first_token_s in calls:
        clock.now_s += pause_s
        board.answered("a", first_token_s)
    measured = [first_token_s for _, first_token_s in calls]
    mean = board.latencies()["a"]
    assert mean is not None
    assert min(measured) - 1e-9 <= mean <= max(measured) + 1e-9


def test_what_was_long_ago_is_forgotten_so_that_the_target_is_tried_again() -> None:
    clock = Clock()
    board = LatencyBoard[str](forget_s=600, clock=clock)
    board.answered("a", 5.0)
    clock.now_s += 600
    assert board.latencies() == {"a": 5.0}
    clock.now_s += 0.1
    assert board.latencies() == {}
    board.answered("a", 1.0)
    assert board.latencies() == {"a": 1.0}


def test_a_full_board_forgets_the_target_that_was_asked_longest_ago() -> None:
    board = LatencyBoard[str](most_targets=3, clock=Clock())
    board.answered("a", 1.0)
    board.answered("b", 1.0)
    board.asked("a")
    board.answered("c", 1.0)
    board.answered("d", 1.0)
    assert set(board.latencies()) == {"a", "c", "d"}
    board.answered("d", 1.0)
    assert set(board.latencies()) == {"a", "c", "d"}
