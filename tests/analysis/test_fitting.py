"""What of an answer fits: items go before fields, everything that is kept is valid, and nothing is changed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.analysis.fitting import MOST_PROBLEMS, fit
from waypost.settings.answer_schema import validator

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "words": {"type": "integer", "minimum": 1},
        "names": {"type": "array", "items": {"type": "string", "maxLength": 5}, "minItems": 1, "maxItems": 3},
        "rated": {
            "type": "object",
            "properties": {"score": {"type": "number"}, "why": {"type": "array", "items": {"type": "string"}}},
            "required": ["score"],
        },
    },
    "required": ["words", "names"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("answer", "value", "missing"),
    [
        ({"words": 1, "names": ["a"]}, {"words": 1, "names": ["a"]}, ()),
        ({"words": 1, "names": ["a"], "x": 1, "y": 2}, {"words": 1, "names": ["a"]}, ()),
        ({"words": 0, "names": ["a"]}, {"names": ["a"]}, ("words",)),
        ({"words": 1, "names": ["a", 2, "too long", "b"]}, {"words": 1, "names": ["a", "b"]}, ()),
        ({"words": 1, "names": ["a", "b", "c", "d", "e"]}, {"words": 1, "names": ["a", "b", "c"]}, ()),
        ({"words": 1, "names": ["too long"]}, {"words": 1}, ("names",)),
        ({"words": 1, "names": "a"}, {"words": 1}, ("names",)),
        (
            {"words": 1, "names": ["a"], "rated": {"score": 1, "why": ["x", 5, "y"]}},
            {"words": 1, "names": ["a"], "rated": {"score": 1, "why": ["x", "y"]}},
            (),
        ),
        ({"words": 1, "names": ["a"], "rated": {"why": []}}, {"words": 1, "names": ["a"]}, ()),
        ({"names": [1] * 4_000 + ["a"], "words": 2}, {"names": ["a"], "words": 2}, ()),
        ({"words": "x", "names": None}, None, ("names", "words")),
        ({}, None, ("names", "words")),
    ],
)
def test_what_fits_is_kept(answer: dict[str, Any], value: dict[str, Any] | None, missing: tuple[str, ...]) -> None:
    before = repr(answer)
    fitted = fit(answer, SCHEMA)
    assert (fitted.value, fitted.missing) == (value, missing)
    assert bool(fitted.problems) == (value != answer)
    assert len(fitted.problems) <= MOST_PROBLEMS
    assert repr(answer) == before


NAMES = st.sampled_from(["words", "names", "rated", "score", "why", "x"])
PLAIN = st.none() | st.integers(-2, 9) | st.text("ab", max_size=8)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=4))


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_everything_that_is_kept_is_valid(answer: dict[str, Any]) -> None:
    fitted = fit(answer, SCHEMA)
    relaxed = {**SCHEMA, "required": []}
    if fitted.value is not None:
        assert validator(relaxed).is_valid(fitted.value)
        assert set(fitted.value) <= set(answer)
    assert (not fitted.problems) == validator(SCHEMA).is_valid(answer)
