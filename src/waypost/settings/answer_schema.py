"""JSON schemas that answers are held to: which can be used, and the validator of one that can.

Draft 2020-12 unless the schema names another. Nothing is fetched: a `$ref` leads to a place within the same schema.
Patterns are matched in linear time, so that no text can hold a process up. The invariant: a schema in which
`schema_problem` finds nothing compiles, describes an object, and some object fits it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from waypost.settings.problems import KeyPath

if TYPE_CHECKING:
    from jsonschema_rs import Validator

MOST_SCHEMA_DEPTH: Final = 40
"""Levels of nesting as it is written; every property takes two."""
MOST_SCHEMA_BYTES: Final = 100_000
_PATTERN_BYTES: Final = 1_000_000
"""What one compiled pattern may take."""


def schema_problem(schema: Any) -> tuple[KeyPath, str] | None:
    """Where in the schema something is wrong and what, as the end of a sentence; None: it can be used."""
    return _shape_problem(schema) or _compile_problem(schema) or _contradiction(schema)


def validator(schema: Mapping[str, Any]) -> Validator:
    """The validator of a schema in which `schema_problem` found nothing. Raises ValueError for others."""
    import jsonschema_rs

    options = jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES)
    return jsonschema_rs.validator_for(dict(schema), pattern_options=options, retriever=_no_other)


def _no_other(address: str) -> Any:
    raise ValueError(f"{address} lies outside of the schema")


def _shape_problem(schema: Any) -> tuple[KeyPath, str] | None:
    if not isinstance(schema, Mapping):
        return (), "must be a JSON schema: keys with values, among them type: object"
    for path, value, depth in _values(schema):
        if depth > MOST_SCHEMA_DEPTH:
            return path, f"is nested deeper than {MOST_SCHEMA_DEPTH} levels"
        if path and path[-1] in ("$ref", "$dynamicRef") and isinstance(value, str) and not value.startswith("#"):
            return path, f'refers to "{value[:80]}"; a schema may only refer to itself, such as #/$defs/name'
    try:
        size_bytes = len(json.dumps(schema, allow_nan=False))
    except (TypeError, ValueError):
        return (), "holds a value that JSON has not, such as a date or .nan; put it in quotes"
    if size_bytes > MOST_SCHEMA_BYTES:
        return (), f"has {size_bytes} bytes as JSON; at most {MOST_SCHEMA_BYTES} are read"
    if schema.get("type") != "object":
        return (), "must describe an object: type: object, with properties"
    return None


def _values(schema: Any) -> Iterator[tuple[KeyPath, Any, int]]:
    """Every value with its path and depth, the outer before the inner. Iterative: it may be nested as deep as it likes.

    Behind a value that is too deep nothing more is looked at.
    """
    waiting: list[tuple[KeyPath, Any]] = [((), schema)]
    while waiting:
        path, value = waiting.pop()
        yield path, value, len(path)
        if len(path) > MOST_SCHEMA_DEPTH:
            continue
        if isinstance(value, Mapping):
            waiting += [((*path, str(key)), item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [((*path, index), item) for index, item in enumerate(value)]


def _compile_problem(schema: Mapping[str, Any]) -> tuple[KeyPath, str] | None:
    import jsonschema_rs

    try:
        validator(schema)
    except jsonschema_rs.ValidationError as error:
        return tuple(error.instance_path), f"is no JSON schema that can be used: {_first_line(error.message)}"
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        return (), f"is no JSON schema that can be used: {_first_line(str(error))}"
    return None


def _contradiction(schema: Mapping[str, Any]) -> tuple[KeyPath, str] | None:
    """A part that no value fits, but for a plain `false`, which is a way to forbid something."""
    from jsonschema_rs import canonical, canonicalize

    try:
        if canonicalize(dict(schema)).satisfiability() is canonical.Satisfiability.NO:
            return (), "cannot be met: no object fits it"
        empty = canonical.find_unsatisfiable(dict(schema))
    except (canonical.CanonicalizationError, ValueError):
        # What cannot be reasoned about is left to the run, which tells what does not fit.
        return None
    for pointer, reason in empty.items():
        if not isinstance(reason, canonical.UnsatisfiableReason.Literal):
            return _steps(pointer), "cannot be met: no value fits it"
    return None


def _steps(pointer: str) -> KeyPath:
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0][:200].rstrip(".")
