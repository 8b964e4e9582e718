"""gateway/policy.py: after which errors another target is asked."""

from __future__ import annotations

from typing import get_args

import pytest
from tests.example_errors import every_class, example

from waypost import errors
from waypost.errors import ContextLengthExceeded, WaypostError
from waypost.gateway.policy import FALLBACK_CLASSES, FallbackClass, Policy, Windows, worth_another_target

EVERYTHING = Policy(fall_back_on=get_args(FallbackClass))
NOTHING = Policy(fall_back_on=())
LARGER = Windows(failed=8_000, candidate=200_000)


def every_error() -> list[WaypostError]:
    """One of each class that a call may end with."""
    return [example(kind) for kind in every_class() if kind is not errors.AllTargetsFailed]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_a_class_says_whether_another_target_is_worth_it_and_a_route_may_widen_that(error: WaypostError) -> None:
    """By opting in a route only adds the classes of the table: never the caller's own errors or a diverged recovery."""
    assert worth_another_target(error, NOTHING, LARGER) == error.fallback
    assert worth_another_target(error, EVERYTHING, LARGER) == (error.fallback or type(error) in FALLBACK_CLASSES)


@pytest.mark.parametrize("kind", FALLBACK_CLASSES, ids=lambda kind: kind.__name__)
def test_each_class_is_opened_by_its_own_word_alone(kind: type[WaypostError]) -> None:
    for word in get_args(FallbackClass):
        policy = Policy(fall_back_on=(word,))
        assert worth_another_target(kind("x"), policy, LARGER) == (word == FALLBACK_CLASSES[kind])


def test_every_word_opens_something() -> None:
    assert set(FALLBACK_CLASSES.values()) == set(get_args(FallbackClass))


def test_what_a_foreign_provider_raises_is_always_worth_another() -> None:
    assert worth_another_target(RuntimeError("x"), NOTHING)


@pytest.mark.parametrize(
    ("windows", "worth"),
    [
        (LARGER, True),
        (Windows(8_000, 8_001), True),
        (Windows(8_000, 8_000), False),
        (Windows(8_000, 4_000), False),
        (Windows(None, 4_000), False),
        (Windows(8_000, None), False),
        (None, False),
    ],
)
def test_a_prompt_that_is_too_long_goes_only_to_a_window_that_is_known_to_be_larger(
    windows: Windows | None, worth: bool
) -> None:
    """That is so by default: nobody has to opt in."""
    assert worth_another_target(ContextLengthExceeded("x"), Policy(), windows) == worth


def test_a_plugin_s_own_kind_of_an_error_counts_as_its_parent() -> None:
    class TooLong(ContextLengthExceeded):
        """Somebody's own."""

    assert worth_another_target(TooLong("x"), Policy(), LARGER)
    assert not worth_another_target(TooLong("x"), Policy(), Windows(8_000, 8_000))
