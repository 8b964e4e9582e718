"""The schema that a provider is sent to hold an answer to: the kind's, without what some providers refuse to hold to.

Ranges, lengths, counts and patterns are left out, and objects are closed. Where that changes something, the prompt
tells the whole schema, and the validator holds the answer to it afterwards as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NOT_HELD: Final = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
        "format", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "default", "examples",
    }
)  # fmt: skip
"""Keywords that at least one provider's structured output answers with an error."""
_NAMED: Final = ("properties", "$defs", "definitions")
"""Keywords whose members are named by whoever wrote the schema."""
_VALUES: Final = ("enum", "const")


def held_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as it is sent."""
    held = {name: _held(name, value) for name, value in schema.items() if name not in NOT_HELD}
    if "properties" in held:
        held.setdefault("additionalProperties", False)
    return held


def _held(name: str, value: Any) -> Any:
    if name in _VALUES:
        return value
    if name in _NAMED and isinstance(value, Mapping):
        return {key: _inner(part) for key, part in value.items()}
    return _inner(value)


def _inner(value: Any) -> Any:
    if isinstance(value, Mapping):
        return held_schema(value)
    return [_inner(item) for item in value] if isinstance(value, list | tuple) else value


def is_strict(schema: Any) -> bool:
    """Is every object closed, and every property of it required? Only then can a provider promise to hold to it."""
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        closed = schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(properties)
        if not closed:
            return False
    return all(is_strict(value) for name, value in schema.items() if name not in _VALUES)
