"""Generated values fit their schemas, by the judgement of the jsonschema library."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.errors import InvalidRequest
from waypost.simulator.schema import value_for

NODE = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
            "required": ["name", "next", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/Node",
}

SCHEMAS: dict[str, dict[str, Any]] = {
    "nothing said": {},
    "enum": {"enum": ["red", "green"]},
    "const": {"const": 5},
    "default": {"type": "integer", "default": 4},
    "integer range": {"type": "integer", "minimum": 10, "maximum": 12},
    "integer below zero": {"type": "integer", "maximum": -5},
    "exclusive integers": {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    "multiple": {"type": "integer", "minimum": 11, "multipleOf": 5},
    "number range": {"type": "number", "minimum": 0, "maximum": 1},
    "exclusive numbers": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "number above": {"type": "number", "exclusiveMinimum": 7},
    "long string": {"type": "string", "minLength": 50},
    "short string": {"type": "string", "maxLength": 3},
    "date": {"type": "string", "format": "date-time"},
    "nullable": {"type": ["string", "null"]},
    "optional": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "array bounds": {"type": "array", "items": {"type": "boolean"}, "minItems": 3},
    "empty array": {"type": "array", "items": {"type": "boolean"}, "maxItems": 0},
    "tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "minItems": 2},
    "required only": {"type": "object", "required": ["a"], "properties": {"a": {"type": "null"}}},
    "required, not described": {"type": "object", "required": ["b"]},
    "properties without type": {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"type": "string"}}, "required": ["b"]},
        ]
    },
    "recursive": NODE,
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_the_value_fits_and_is_the_same_again(schema: dict[str, Any]) -> None:
    value = value_for(schema, text="some words")
    jsonschema.validate(value, schema, format_checker=jsonschema.FormatChecker())
    assert value_for(schema, text="some words") == value


def test_free_strings_hold_the_text_and_optional_properties_are_filled_in() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
    assert value_for(schema, text="Paris") == {"city": "Paris", "days": 1}


def test_a_reference_that_leads_nowhere_or_in_a_circle_ends() -> None:
    assert value_for({"$ref": "#/$defs/none"}, text="x") == "x"
    assert value_for({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, text="x") == "x"
    endless = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    assert isinstance(value_for(endless), dict)


_LEAVES = st.one_of(
    st.builds(
        lambda low, width: {"type": "integer", "minimum": low, "maximum": low + width},
        st.integers(-50, 50),
        st.integers(0, 20),
    ),
    st.builds(
        lambda low, width: {"type": "number", "minimum": low, "maximum": low + width},
        st.integers(-50, 50),
        st.integers(0, 20),
    ),
    st.builds(
        lambda low, width: {"type": "string", "minLength": low, "maxLength": low + width},
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    st.just({"type": "boolean"}),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers() | st.text(max_size=3), min_size=1, max_size=3)),
)


def _nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from(["a", "b", "c"])
    return st.one_of(
        st.builds(
            lambda properties: {"type": "object", "properties": properties, "required": sorted(properties)},
            st.dictionaries(names, inner, max_size=3),
        ),
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 2)),
        st.builds(lambda choices: {"anyOf": choices}, st.lists(inner, min_size=1, max_size=2)),
    )


@settings(max_examples=60, deadline=None)
@given(st.recursive(_LEAVES, _nested, max_leaves=8))
def test_values_fit_any_nesting_of_the_supported_words(schema: dict[str, Any]) -> None:
    jsonschema.validate(value_for(schema), schema)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "enum",
                    "properties",
                    "items",
                    "required",
                    "anyOf",
                    "allOf",
                    "$ref",
                    "minimum",
                    "maxLength",
                    "format",
                    "minLength",
                    "minItems",
                    "multipleOf",
                    "exclusiveMaximum",
                    "prefixItems",
                ]
            ),
            inner | st.sampled_from(["object", "array", "string", "integer", "number", "#", "#/items"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["type", "properties", "items", "anyOf", "$ref", "minimum"]), _JSON))
def test_any_json_in_a_schemas_place_gives_a_value_or_a_refusal(schema: dict[str, Any]) -> None:
    try:
        value = value_for(schema)
    except InvalidRequest:
        return
    # As JSON, because NaN is not equal to itself.
    assert msgspec.json.encode(value) == msgspec.json.encode(value_for(schema))


def test_a_schema_that_asks_for_endless_values_is_bounded() -> None:
    names = [f"p{number}" for number in range(9)]
    schema = {"type": "object", "properties": {name: {"$ref": "#"} for name in names}, "required": names}
    assert len(json.dumps(value_for(schema))) < 1_000_000
    assert len(value_for({"type": "string", "minLength": 10**12})) == 100_000
    assert len(value_for({"type": "array", "minItems": 10**12})) == 2_000
