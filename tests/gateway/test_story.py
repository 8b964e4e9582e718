"""gateway/story.py: who may read a story, how many are kept, and what an error is told as."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest

from waypost import errors
from waypost.errors import Phase, ProviderError, ProviderRateLimited, ProviderTimeout, RequestError, WaypostError
from waypost.gateway.story import ERROR_WORDS, RequestStory, StoryBook, error_code, error_words


def story(request_id: str, model: str = "m") -> RequestStory:
    return RequestStory(request_id, model, 0.0, 1, "answered", 200)


def add(book: StoryBook, told: RequestStory, tenant: str | None) -> None:
    book.add(told.request_id, tenant, lambda: told)


def test_only_the_key_that_made_a_request_and_an_admin_read_its_story() -> None:
    book = StoryBook()
    add(book, story("r"), "alice")
    assert book.find("r", "alice") == story("r")
    assert book.find("r", "bob") is None
    assert book.find("r", None) is None
    assert book.find("r", "bob", is_admin=True) == story("r")
    assert book.find("unknown", "bob", is_admin=True) is None


def test_two_keys_with_the_same_request_id_do_not_see_or_overwrite_each_other() -> None:
    """A caller may choose his request ids; an admin is told his own first, and else the latest."""
    book = StoryBook()
    add(book, story("r", "a"), "alice")
    add(book, story("r", "b"), "bob")
    assert [found.asked_model for tenant in ("alice", "bob") if (found := book.find("r", tenant))] == ["a", "b"]
    assert book.find("r", "admin", is_admin=True) == story("r", "b")
    assert book.find("r", "alice", is_admin=True) == story("r", "a")


def test_where_there_are_no_keys_everybody_is_the_same_tenant() -> None:
    book = StoryBook()
    add(book, story("r"), None)
    assert book.find("r", None) == story("r")


def test_the_book_is_bounded_and_the_oldest_story_goes() -> None:
    book = StoryBook(most_stories=2)
    for request_id in ("1", "2", "1", "3"):
        add(book, story(request_id), "alice")
    assert [request_id for request_id in "123" if book.find(request_id, "alice")] == ["1", "3"]


NOT_BY_MESSAGE = (
    ProviderTimeout,
    errors.AllTargetsFailed,
    errors.LimitExceeded,
    errors.BudgetExceeded,
    errors.WebhookRefused,
)
"""Those that are made of more than a message."""
CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, WaypostError)]


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, ProviderError)])
def test_every_error_of_a_provider_has_words_of_its_own(kind: type[ProviderError]) -> None:
    assert kind in ERROR_WORDS


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind not in NOT_BY_MESSAGE])
def test_nothing_of_a_message_or_hint_is_told(kind: type[WaypostError]) -> None:
    """A provider's message may quote the prompt, and a hint may name a file."""
    words = error_words(kind("SECRET sk-123", hint="SECRET"))
    assert words
    assert "SECRET" not in words
    assert "sk-" not in words
    assert error_code(kind("x")) == kind.code


def test_the_status_is_told_where_there_was_one() -> None:
    assert (
        error_words(ProviderRateLimited("x", status=429)) == "answered 429: it had too many requests or tokens from us"
    )
    assert not error_words(ProviderRateLimited("x")).startswith("answered")


@pytest.mark.parametrize("phase", get_args(Phase))
def test_every_deadline_has_words_of_its_own(phase: Phase) -> None:
    words = error_words(ProviderTimeout("SECRET", phase=phase, limit_s=2.5))
    assert "SECRET" not in words
    assert phase == "total" or "2.5 s" in words


def test_an_error_that_is_not_ours_is_told_by_its_class_alone() -> None:
    assert error_words(KeyError("SECRET")) == "raised an error of its own (KeyError)"
    assert error_code(KeyError("SECRET")) == "foreign_error"


def test_a_plugin_s_own_class_is_told_as_its_nearest_parent() -> None:
    class Odd(RequestError):
        """Somebody's own."""

    assert error_words(Odd("x")) == ERROR_WORDS[WaypostError]
