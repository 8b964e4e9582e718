"""Google's own form of a JSON schema, as JSON Schema.

`parameters` and `responseSchema` are a subset of OpenAPI 3.0 with types in capitals; other formats take JSON Schema
only. One way is enough: what is written to Google goes into `parametersJsonSchema` and `responseJsonSchema`, which
take JSON Schema as it is. Nothing is checked here: a value of the wrong type stays as it is, for the provider to judge.
"""

from __future__ import annotations

from typing import Final

from waypost.chat import Json
from waypost.codecs.gemini.wire import Members, camel_case

_COUNTS: Final = ("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength")
"""Protobuf's JSON has 64-bit integers as strings."""


def json_schema(value: Json) -> Json:
    """The same demand in JSON Schema."""
    if not isinstance(value, dict):
        return value
    schema: Members = {}
    for given, item in value.items():
        name = next(iter(camel_case({given: None})))
        schema[name] = _READERS.get(name, _as_it_is)(item)
    if schema.get("format") == "enum":
        del schema["format"]
    return _with_null(schema) if schema.pop("nullable", None) is True else schema


def _with_null(schema: Members) -> Members:
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    if isinstance(schema.get("enum"), list):
        schema["enum"] = [*schema["enum"], None]
    return schema


def _as_it_is(item: Json) -> Json:
    return item


def _type(item: Json) -> Json:
    return item.lower() if isinstance(item, str) else item


def _count(item: Json) -> Json:
    return int(item) if isinstance(item, str) and item.isascii() and item.isdigit() and len(item) < 20 else item


def _each(item: Json) -> Json:
    return [json_schema(inner) for inner in item] if isinstance(item, list) else item


def _members(item: Json) -> Json:
    return {name: json_schema(inner) for name, inner in item.items()} if isinstance(item, dict) else item


_READERS: Final = {
    "type": _type,
    "items": json_schema,
    "additionalProperties": json_schema,
    "properties": _members,
    "anyOf": _each,
    "prefixItems": _each,
    **dict.fromkeys(_COUNTS, _count),
}
