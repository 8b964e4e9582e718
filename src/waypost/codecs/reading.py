"""Checked reading of decoded JSON, for codecs that report the path of what is wrong.

No rule of any wire format lives here. The invariant: reading a value of the wrong type raises WireError with its path
in the body ("messages.0.content").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from waypost.chat import Json

Value = TypeVar("Value")
_NAMES: Final = {str: "a string", int: "an integer", bool: "true or false", list: "a list", dict: "an object"}


class WireError(Exception):
    """The body does not fit the format at `path`. A codec's faces turn it into an error of waypost.errors."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path


def optional(data: Mapping[str, Json], name: str, kind: type[Value], path: str) -> Value | None:
    """The member, None if it is absent or null. Raises WireError if its type is another."""
    value = data.get(name)
    # Not isinstance: JSON gives exact types, and True must not pass as an integer.
    if value is not None and type(value) is not kind:
        raise WireError(join(path, name), f"Input should be {_NAMES[kind]}")
    return value


def required(data: Mapping[str, Json], name: str, kind: type[Value], path: str) -> Value:
    """The member. Raises WireError if it is absent, null or of another type."""
    value = optional(data, name, kind, path)
    if value is None:
        raise WireError(join(path, name), "Field required")
    return value


def objects(data: Mapping[str, Json], name: str, path: str) -> list[dict[str, Json]]:
    """The member as a list of objects, empty if it is absent or null."""
    items = optional(data, name, list, path) or []
    return [an_object(item, f"{join(path, name)}.{index}") for index, item in enumerate(items)]


def an_object(value: Json, path: str) -> dict[str, Json]:
    """The value, if it is an object. Raises WireError otherwise."""
    if type(value) is not dict:
        raise WireError(path, "Input should be an object")
    return value


def join(path: str, name: str) -> str:
    """The path of a member."""
    return f"{path}.{name}" if path else name


def rest(data: Mapping[str, Json], *known: str) -> dict[str, Json]:
    """Members this codec has no canonical place for. Null says the same as absence."""
    return {name: value for name, value in data.items() if name not in known and value is not None}
