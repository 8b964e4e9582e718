"""providers/secrets.py: what providers repeat of a key does not get through."""

from __future__ import annotations

import pytest

from waypost.providers.secrets import clean


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (
            "Incorrect API key provided: sk-abcde***wxyz. See the docs.",
            "Incorrect API key provided: [key] See the docs.",
        ),
        ("key sk-ant-api03-AbC_d-123456 refused", "key [key] refused"),
        ("bad gsk_1234567890", "bad [key]"),
        ("API key not valid: AIzaSyA-1234567890123456789012", "API key not valid: [key]"),
        ("a risk-averse task-based desk", "a risk-averse task-based desk"),
        ("nothing here", "nothing here"),
    ],
)
def test_shapes_of_keys_are_taken_out_and_words_are_not(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_our_own_key_is_taken_out_whatever_its_shape() -> None:
    assert clean("the key hunter2 is wrong", ("hunter2", "")) == "the key [key] is wrong"


def test_a_key_too_short_to_be_one_does_not_garble_the_text() -> None:
    assert clean("the connection broke", ("k",)) == "the connection broke"
