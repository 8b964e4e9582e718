"""An answer held to a JSON schema: what of it fits, and what is wrong with the rest, in words for the model."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from waypost.settings.answer_schema import validator

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

MOST_PROBLEMS: Final = 20
MOST_PRUNINGS: Final = 200
"""Values that are taken out of one answer, each after a look at all that is wrong."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What of an answer fits.

    `value` None: nothing; `missing`: the required fields that it lacks; `problems`: all that was wrong.
    """

    value: dict[str, Any] | None
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def better_than(self, other: Fitted) -> bool:
        """Does more of it fit?"""
        return self._rank() > other._rank()

    def _rank(self) -> tuple[bool, bool, int, int]:
        fields = len(self.value or {})
        return self.value is not None, not self.problems, -len(self.missing), fields


def fit(answer: Mapping[str, Any], schema: Mapping[str, Any]) -> Fitted:
    """The answer without what does not fit: items of lists, then fields, that the errors point at."""
    checker = _validator(msgspec.json.encode(schema))
    problems = tuple(_told(error) for error in islice(checker.iter_errors(answer), MOST_PROBLEMS))
    if not problems:
        return Fitted(dict(answer))
    value = copy.deepcopy(dict(answer))
    for _ in range(MOST_PRUNINGS):
        error = next(_prunable(checker, value), None)
        if error is None:
            break
        _prune(value, error)
    left = list(checker.iter_errors(value))
    missing = tuple(sorted(name for name in schema.get("required", ()) if name not in value))
    if not value or any(error.instance_path or error.kind.name != "required" for error in left):
        return Fitted(None, missing, problems)
    return Fitted(value, missing, problems)


@lru_cache(maxsize=64)
def _validator(schema: bytes) -> Validator:
    return validator(msgspec.json.decode(schema))


def _prunable(checker: Validator, value: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Errors that go away if something is taken out: all but what is missing at the top."""
    return (
        error
        for error in checker.iter_errors(value)
        if error.instance_path or error.kind.name in ("additionalProperties", "unevaluatedProperties")
    )


def _prune(value: dict[str, Any], error: ValidationError) -> None:
    """Take out an item of a top-level list that the error lies in, else the top-level field."""
    path = list(error.instance_path)
    if not path:
        for name in error.kind.unexpected:  # type: ignore[attr-defined]
            value.pop(name, None)
        return
    name = str(path[0])
    held = value.get(name)
    if isinstance(held, list) and len(path) > 1 and isinstance(path[1], int):
        del held[path[1]]
    elif isinstance(held, list) and error.kind.name == "maxItems" and len(path) == 1:
        held.pop()
    else:
        value.pop(name, None)


def _told(error: ValidationError) -> str:
    """Where and what, for the model."""
    place = "/".join(str(step) for step in error.instance_path)
    return f"{place or 'the object'}: {error.message}"
