"""A value that fits a JSON schema, the same one every time: for tool arguments and structured answers.

Not a validator. It follows `type`, `enum`, `const`, `default`, `properties`, `items`, `anyOf`/`oneOf`/`allOf`, `$ref`
into the same schema, the bounds of numbers, strings and arrays, and the common formats; a `pattern` is not solved.
Schemas that refer to themselves end: below `SHALLOW_DEPTH` only what is required is made, null where it is allowed.
Sizes are bounded, whatever the schema asks for, and a schema that is none is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from waypost.chat import Json
from waypost.errors import InvalidRequest

SHALLOW_DEPTH = 2
MAX_DEPTH = 16
MAX_VALUES = 2_000
MAX_LENGTH = 100_000
Schema: TypeAlias = Mapping[str, Any]

_FORMATS = {
    "date": "2025-01-01",
    "time": "12:00:00Z",
    "date-time": "2025-01-01T12:00:00Z",
    "duration": "PT1M",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def value_for(schema: Schema, *, text: str = "text") -> Json:
    """A value that fits. Free strings hold `text`, so that an answer can show what it was made from.

    Raises InvalidRequest if the schema's own words are not what JSON Schema says they are.
    """
    try:
        value = _Generator(schema, text).value(schema, 0)
        msgspec.json.encode(value)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        # The schema comes from the caller, and any of its words may be of any type.
        raise InvalidRequest("A JSON schema in the request cannot be followed.", hint="Check its keywords.") from error
    return value


class _Generator:
    def __init__(self, root: Schema, text: str) -> None:
        self._root = root
        self._text = text
        self._left = MAX_VALUES

    def value(self, schema: object, depth: int) -> Json:
        self._left -= 1
        if not isinstance(schema, Mapping):
            return self._text  # `true`: anything fits
        schema = self._resolved(schema, depth)
        for name in ("const", "default"):
            if name in schema:
                return schema[name]
        if schema.get("enum"):
            return schema["enum"][0]
        make = _MAKERS.get(_type_of(schema, depth))
        return make(self, schema, depth) if make else None

    def _resolved(self, schema: Schema, depth: int) -> Schema:
        for _ in range(MAX_DEPTH):
            if isinstance(reference := schema.get("$ref"), str):
                schema = {**self._pointed(reference), **_without(schema, "$ref")}
            elif schema.get("allOf"):
                schema = self._merged(schema, depth)
            elif choices := schema.get("anyOf") or schema.get("oneOf"):
                schema = {**_without(schema, "anyOf", "oneOf"), **_chosen(choices, depth)}
            else:
                break
        return schema

    def _pointed(self, reference: str) -> Schema:
        """Source: RFC 6901 (JSON Pointer), in a URI fragment."""
        found: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    def _merged(self, schema: Schema, depth: int) -> Schema:
        merged = _without(schema, "allOf")
        for member in schema["allOf"]:
            for key, value in self._resolved(member, depth).items():
                held = merged.get(key)
                if isinstance(held, dict) and isinstance(value, dict):
                    merged[key] = {**held, **value}
                elif isinstance(held, list) and isinstance(value, list):
                    merged[key] = [*held, *value]
                else:
                    merged[key] = value
        return merged

    def object(self, schema: Schema, depth: int) -> Json:
        if depth > MAX_DEPTH or self._left < 0:
            return {}
        properties: Schema = schema.get("properties", {})
        required = schema.get("required", ())
        names = required if depth > SHALLOW_DEPTH else dict.fromkeys([*properties, *required])
        return {name: self.value(properties.get(name, True), depth + 1) for name in names}

    def array(self, schema: Schema, depth: int) -> Json:
        if depth > MAX_DEPTH or self._left < 0:
            return []
        first: Sequence[object] = schema.get("prefixItems", ())
        wished = 1 if depth <= SHALLOW_DEPTH and schema.get("maxItems", 1) else 0
        count = max(len(first), min(int(schema.get("minItems", 0)), MAX_VALUES), wished)
        rest = [schema.get("items", True)] * (count - len(first))
        return [self.value(member, depth + 1) for member in (*first, *rest)]

    def string(self, schema: Schema, _: int) -> Json:
        text = _FORMATS.get(schema.get("format", ""), self._text)
        text = text.ljust(min(int(schema.get("minLength", 0)), MAX_LENGTH), "x")
        return text[: int(schema["maxLength"])] if "maxLength" in schema else text

    def integer(self, schema: Schema, _: int) -> Json:
        low, high = _bounds(schema, margin=1)
        step = schema.get("multipleOf", 1)
        value = math.ceil(max(1, low) / step) * step
        return int(value if value <= high else math.floor(high / step) * step)

    def number(self, schema: Schema, _: int) -> Json:
        low, high = _bounds(schema, margin=0)
        if math.isfinite(low) and math.isfinite(high):
            value = (low + high) / 2
        elif math.isfinite(low):
            value = low + 1.5
        else:
            value = high - 1.5 if math.isfinite(high) else 1.5
        step = schema.get("multipleOf")
        return math.ceil(value / step) * step if step else value

    def boolean(self, _: Schema, __: int) -> Json:
        return True


_MAKERS: Mapping[str, Callable[[_Generator, Schema, int], Json]] = {
    "object": _Generator.object,
    "array": _Generator.array,
    "string": _Generator.string,
    "integer": _Generator.integer,
    "number": _Generator.number,
    "boolean": _Generator.boolean,
}


def _type_of(schema: Schema, depth: int) -> str:
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return "null" if depth > SHALLOW_DEPTH and "null" in kinds else str(kinds[0])
    if kinds is None:
        return "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kinds)


def _chosen(choices: Sequence[Schema], depth: int) -> Schema:
    nothing = next((choice for choice in choices if choice.get("type") == "null"), None)
    return nothing if depth > SHALLOW_DEPTH and nothing is not None else choices[0]


def _bounds(schema: Schema, *, margin: float) -> tuple[float, float]:
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + margin)
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - margin)
    return low, high


def _without(schema: Schema, *names: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in names}
