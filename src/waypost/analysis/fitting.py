"""An answer held to a JSON schema: what of it fits, and what is wrong with the rest, in words for the model."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from waypost.settings.answer_schema import validator

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

MOST_PROBLEMS: Final = 20
MOST_ROUNDS: Final = 8
"""Looks at what is wrong after something was taken out: one may bring up another."""
MOST_ERRORS: Final = 5_000


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
    """The answer without what does not fit: items of lists where an error lies in one, else top-level fields."""
    checker = _validator(msgspec.json.encode(schema))
    problems = tuple(_told(error) for error in islice(checker.iter_errors(answer), MOST_PROBLEMS))
    if not problems:
        return Fitted(dict(answer))
    value = copy.deepcopy(dict(answer))
    for _ in range(MOST_ROUNDS):
        errors = list(islice(_prunable(checker, value), MOST_ERRORS))
        if not errors:
            break
        _prune(value, errors)
    missing = tuple(sorted(name for name in schema.get("required", ()) if name not in value))
    left = checker.iter_errors(value)
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


def _prune(value: dict[str, Any], errors: Sequence[ValidationError]) -> None:
    """Take out what the errors point at. A list is only shortened when nothing else is wrong any more."""
    fields: set[str] = set()
    items: set[tuple[str | int, ...]] = set()
    too_many: set[tuple[str | int, ...]] = set()
    for error in errors:
        path = tuple(error.instance_path)
        depth = max((at for at, step in enumerate(path) if isinstance(step, int)), default=None)
        if not path:
            fields.update(error.kind.unexpected)  # type: ignore[attr-defined]
        elif error.kind.name == "maxItems":
            too_many.update((*path, at) for at in range(error.kind.limit, len(_at(value, path))))  # type: ignore[attr-defined]
        elif depth is not None:
            items.add(path[: depth + 1])
        else:
            fields.add(str(path[0]))
    _take_out(value, fields, items or (set() if fields else too_many))


def _take_out(value: dict[str, Any], fields: Iterable[str], items: Iterable[tuple[str | int, ...]]) -> None:
    """Items go from the last one on, so that the others keep their places."""
    for place in sorted(items, key=lambda place: (len(place), place), reverse=True):
        del _at(value, place[:-1])[place[-1]]
    for name in fields:
        value.pop(name, None)


def _at(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        value = value[step]
    return value


def _told(error: ValidationError) -> str:
    """Where and what, for the model."""
    place = "/".join(str(step) for step in error.instance_path)
    return f"{place or 'the object'}: {error.message}"
