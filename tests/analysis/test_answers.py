"""JSON in answers: what is meant is found in what models write around it, and nothing is made up."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.analysis.answers import MOST_DEPTH, NoAnswer, json_objects, mended

TEXT = st.text("ab{}[]\"\\\n:,'é😀", max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=5)
AROUND = st.text("ab ,.:!\n'ü日😀", max_size=40)


def json_object(text: str) -> dict[str, Any]:
    """The likeliest one."""
    return next(json_objects(text))


@given(OBJECTS, AROUND, AROUND, st.booleans())
def test_an_object_is_found_in_what_is_written_around_it(
    value: dict[str, Any], before: str, after: str, fenced: bool
) -> None:
    written = json.dumps(value, ensure_ascii=False)
    text = f"{before}\n```json\n{written}\n```\n{after}" if fenced else f"{before}{written}{after}"
    assert json_object(text) == value


@given(OBJECTS, st.data())
def test_of_an_answer_that_was_cut_off_what_is_left_is_true(value: dict[str, Any], data: st.DataObject) -> None:
    """Whatever the cut: no field has another value than it had, and nothing is there that was not."""
    written = json.dumps(value, ensure_ascii=False)
    cut = written[: data.draw(st.integers(1, len(written)))]
    assert is_part_of(json.loads(mended(cut)), value)


def is_part_of(found: Any, whole: Any) -> bool:
    if isinstance(found, dict):
        return isinstance(whole, dict) and all(key in whole and is_part_of(found[key], whole[key]) for key in found)
    if isinstance(found, list):
        return isinstance(whole, list) and all(map(is_part_of, found, whole[: len(found)])) and len(found) <= len(whole)
    return type(found) is type(whole) and bool(found == whole)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1,}', {"a": 1}),
        ('{"a": [1, 2, ], }', {"a": [1, 2]}),
        ('{"a": "two\nlines\tand a tab"}', {"a": "two\nlines\tand a tab"}),
        ('Sure! Here it is:\n```\n{"a": 1}\n```\nAnything else?', {"a": 1}),
        ('<think>First {"a": 0} came to mind.</think>{"a": 1}', {"a": 1}),
        ('Use {braces} like {this}: {"a": 1}', {"a": 1}),
        ('{"a": "a } in a \\" string {"}', {"a": 'a } in a " string {'}),
        ('{"a": 1, "b": "cut o', {"a": 1}),
        ('{"a": [{"b": 1}, {"b": 2', {"a": [{"b": 1}, {}]}),
        ('{"a": 1} {"a": 2}', {"a": 1}),
        ('\ufeff{"a": 1}', {"a": 1}),
        ('{"a": "\\u0000\\ud800"}', {"a": "\ufffd\ufffd"}),
    ],
)
def test_how_models_write(text: str, value: dict[str, Any]) -> None:
    assert json_object(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "I cannot do that.", "[1, 2]", '"text"', "null", "{", "{'a': 1}", '{"a": NaN}', '{"a": 1e999}', "{}{" * 40],
)
def test_where_there_is_no_object_nothing_is_made_up(text: str) -> None:
    if text.startswith(("{}", "{")) and text in ("{", "{}{" * 40):
        assert json_object(text) == {}
        return
    with pytest.raises(NoAnswer):
        json_object(text)


@pytest.mark.parametrize(
    "text", ["{" * 900_000, '{"a":' * 150_000, "[" * 900_000, '"' * 900_000, '{"' + "\\" * 900_000, "{}" * 450_000]
)
def test_hostile_answers_take_no_longer_than_others(text: str) -> None:
    """Linear: a bound that a quadratic reader would be over a hundred times."""
    began = time.process_time()
    with contextlib.suppress(NoAnswer):
        list(json_objects(text))
    assert time.process_time() - began < 10


def test_what_else_may_be_meant_comes_later() -> None:
    text = 'By the schema {"type": "object"} it is {"result": {"words": 3}}.'
    assert list(json_objects(text)) == [{"type": "object"}, {"result": {"words": 3}}, {"words": 3}]


def test_depth_and_length_are_bounded() -> None:
    with pytest.raises(NoAnswer, match="nested"):
        json_object('{"a":' * (MOST_DEPTH + 2) + "1" + "}" * (MOST_DEPTH + 2))
    with pytest.raises(NoAnswer, match="longer"):
        json_object("a" * 1_000_001)
