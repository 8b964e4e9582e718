"""How many values a request's body may have, and what counts as one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.codecs import jsonbytes
from waypost.codecs.jsonbytes import MAX_VALUES, JsonError, parse_request

COMMAS = b"," * MAX_VALUES
TAKEN: list[bytes] = [
    b'["' + COMMAS + b'"]',
    b'["\\"' + COMMAS + b'"]',
    b'["\\\\", "' + COMMAS + b'"]',
    b'["' + b'{\\"a\\":[' * MAX_VALUES + b'"]',
    b"[" + b",".join([b"1"] * MAX_VALUES)[:-2] + b"]",
]
REFUSED: list[bytes] = [
    b"[" + b",".join([b"1"] * MAX_VALUES) + b"]",
    b"[" + b",".join([b"[]"] * (MAX_VALUES // 2)) + b"]",
    b"[" + b",".join([b'""'] * MAX_VALUES * 3) + b"]",
    b'["\\\\",' + b",".join([b"1"] * MAX_VALUES) + b"]",
    b"{" + b",".join(b'"%d":0' % number for number in range(MAX_VALUES)) + b"}",
]


@pytest.mark.parametrize("body", TAKEN, ids=[row[:12].decode() for row in TAKEN])
def test_text_is_one_value_whatever_stands_in_it(body: bytes) -> None:
    assert parse_request(body) == json.loads(body)


@pytest.mark.parametrize("body", REFUSED, ids=[row[:12].decode() for row in REFUSED])
def test_too_many_values_are_refused_before_they_are_made(body: bytes) -> None:
    with pytest.raises(JsonError, match=f"more values .* than the limit of {MAX_VALUES}"):
        parse_request(body)


def values_of(tree: object) -> int:
    """The value itself, and every one within it."""
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return 1 + sum(map(values_of, inner))


TREES = st.recursive(
    st.integers() | st.text(alphabet=',"\\[{a'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet=',"\\[{a'), inner),
    max_leaves=20,
)


@given(TREES)
@settings(max_examples=60, deadline=None)
def test_no_body_with_few_values_is_refused(tree: object) -> None:
    """At most two marks stand for a value: what separates it from the one before, and what opens it."""
    body = json.dumps(tree).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonbytes, "MAX_VALUES", 2 * values_of(tree))
        assert parse_request(body) == tree
