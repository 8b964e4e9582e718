"""Members read as bytes pass: the same as of the whole document, however it is split, and never an exception."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.codecs.members import LARGEST_BYTES, MemberReader

WANTED = frozenset({"usage", "model"})
NAMES = st.sampled_from(["usage", "model", "data", 'a"b', "x\\", "usage ", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet='ab"\\,:{}[]é\n', max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=5)


def read(document: bytes, cuts: list[int] | None = None) -> Any:
    reader = MemberReader(WANTED)
    borders = [0, *sorted(cut % (len(document) + 1) for cut in cuts or ()), len(document)]
    for start, end in pairwise(borders):
        reader.feed(document[start:end])
    return reader.found()


def written(value: Any, indent: int | None, ascii_only: bool) -> bytes:
    return json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()


FORMS = (st.sampled_from([None, 0, 2]), st.booleans(), st.lists(st.integers(0, 10_000), max_size=4))


@settings(max_examples=300, deadline=None)
@given(OBJECTS, *FORMS)
def test_of_an_object_its_own_members_are_found(
    value: Any, indent: int | None, ascii_only: bool, cuts: list[int]
) -> None:
    """Not those of an inner object, and not what only looks like one within a text."""
    wanted = {name: value[name] for name in WANTED & value.keys()}
    assert read(written(value, indent, ascii_only), cuts) == wanted


@settings(max_examples=200, deadline=None)
@given(st.lists(OBJECTS, max_size=4), *FORMS)
def test_of_an_array_the_last_that_was_said_counts(
    values: list[Any], indent: int | None, ascii_only: bool, cuts: list[int]
) -> None:
    last = {name: each[name] for each in values for name in WANTED & each.keys()}
    assert read(written(values, indent, ascii_only), cuts) == last


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='"\\,:{}[]us', max_size=60).map(str.encode))
def test_no_bytes_raise(document: bytes) -> None:
    assert isinstance(read(document), dict)


def test_a_large_document_is_passed_over_without_being_kept() -> None:
    """Vectors, a picture and a text full of escapes before the counts, 12 MB: found, in a small part of that."""
    pieces = [b'{"data": [', b"[0.125, -0.5], " * 2000, b'[1]], "picture": "', b"QUJD" * 1000, b'", "usage": {"n": 7}}']
    reader = MemberReader(WANTED)
    tracemalloc.start()
    for piece in pieces[:2]:
        reader.feed(piece)
    for _ in range(400):
        reader.feed(pieces[1])
    reader.feed(pieces[2])
    for _ in range(200):
        reader.feed(pieces[3])
    reader.feed(b'\\"\\\\' * 1000)
    reader.feed(pieces[4])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reader.found() == {"usage": {"n": 7}}
    # The threads of whoever runs the tests take some, too.
    assert peak_bytes < 1024 * 1024


@pytest.mark.parametrize("size", [LARGEST_BYTES - 3, LARGEST_BYTES])
def test_a_value_over_the_limit_is_not_kept_and_the_rest_is(size: int) -> None:
    document = b'{"usage": "' + b"x" * size + b'", "model": "m"}'
    assert read(document) == ({"model": "m"} if size == LARGEST_BYTES else {"usage": "x" * size, "model": "m"})
