"""gateway/trail.py: calls are told in the order of their start, each once, with what turned out later."""

from __future__ import annotations

from tests.gateway.clock import Clock

from waypost.errors import ProviderRateLimited
from waypost.gateway.breaker import HealthBoard
from waypost.gateway.candidate import Candidate
from waypost.gateway.trail import Call, Trail


class Walk:
    """A trail on a clock of the test's own."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.trail: Trail[None] = Trail(self.clock, self.clock())

    def begin(self, name: str) -> Call[None]:
        return self.trail.begin(Candidate(name, None), HealthBoard().of(name, None))

    def told(self) -> list[tuple[str, str, int, int, int | None]]:
        return [
            (each.provider, each.next, each.started_ms, each.duration_ms, each.first_token_ms)
            for each in self.trail.attempts
        ]


def test_what_is_under_way_is_not_told_and_a_late_end_is_told_in_its_place() -> None:
    walk = Walk()
    first = walk.begin("a")
    walk.clock.advance(1)
    second = walk.begin("b")
    assert walk.told() == []
    walk.clock.advance(1)
    walk.trail.end(second, None, "answered")
    assert walk.told() == [("b", "answered", 1000, 1000, 1000)]
    walk.trail.end(first, None, "hedge")
    assert walk.told() == [("a", "hedge", 0, 2000, None), ("b", "answered", 1000, 1000, 1000)]


def test_the_end_of_an_answer_keeps_the_time_of_its_first_token() -> None:
    walk = Walk()
    call = walk.begin("a")
    walk.clock.advance(0.5)
    walk.trail.end(call, None, "answered")
    walk.clock.advance(2)
    walk.trail.over(call, None, "answered")
    assert walk.told() == [("a", "answered", 0, 2500, 500)]


def test_a_caller_who_leaves_ends_what_is_under_way_and_nothing_else() -> None:
    walk = Walk()
    failed, waiting, answering = walk.begin("a"), walk.begin("b"), walk.begin("c")
    walk.trail.end(failed, ProviderRateLimited("busy"), "retry")
    walk.trail.end(answering, None, "answered")
    for call in (failed, waiting, answering):
        walk.trail.left(call)
    assert [(name, following) for name, following, *_ in walk.told()] == [
        ("a", "retry"),
        ("b", "caller_left"),
        ("c", "caller_left"),
    ]


def test_the_key_of_an_answer_and_that_of_an_error_are_told() -> None:
    walk = Walk()
    refused, answered = walk.begin("a"), walk.begin("a")
    error = ProviderRateLimited("busy")
    error.key_label = "#1"
    walk.trail.end(refused, error, "next_key")
    walk.trail.end(answered, None, "answered")
    walk.trail.note_key(answered, "#2")
    walk.trail.note_key(answered, None)
    assert [each.key_label for each in walk.trail.attempts] == ["#1", "#2"]


def test_a_trail_that_goes_on_begins_with_the_attempts_before_it() -> None:
    walk = Walk()
    walk.trail.end(walk.begin("a"), None, "recovery")
    before = walk.trail.attempts
    walk.trail = Trail(walk.clock, walk.clock(), before)
    assert walk.trail.attempts == before
    walk.trail.end(walk.begin("b"), None, "answered")
    assert [each.provider for each in walk.trail.attempts] == ["a", "b"]
