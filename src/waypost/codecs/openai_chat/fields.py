"""Reading a caller's JSON object member by member, with errors that name the place.

It knows no field of any format. The invariant: whatever the value, the result is of the type the method says, or
InvalidRequest is raised with the JSON path, as in "messages[0].content must be a string.".
"""

from __future__ import annotations

from typing import NoReturn

from waypost.chat import Json
from waypost.errors import InvalidRequest

LARGEST_INTEGER = 2**53
"""Integers beyond this are not exact in every JSON reader."""


class Fields:
    """One JSON object at `path`. A member read by a method counts as known; `rest` gives the others.

    A member that is null is the same as one that is absent.
    """

    __slots__ = ("_members", "_taken", "path")

    def __init__(self, value: Json, path: str = "") -> None:
        self.path = path
        if not isinstance(value, dict):
            refuse(path or "The body", "must be an object")
        self._members: dict[str, Json] = value
        self._taken: set[str] = set()

    def at(self, name: str) -> str:
        """The JSON path of a member."""
        return f"{self.path}.{name}" if self.path else name

    def take(self, name: str) -> Json:
        """The member as it is, None if absent."""
        self._taken.add(name)
        return self._members.get(name)

    def rest(self) -> dict[str, Json]:
        """The members that no method has read."""
        return {name: value for name, value in self._members.items() if name not in self._taken}

    def text(self, name: str) -> str:
        """A string that must be there."""
        value = self.take(name)
        if not isinstance(value, str):
            refuse(self.at(name), "must be a string")
        return value

    def text_or_none(self, name: str) -> str | None:
        """A string or nothing."""
        return None if self.take(name) is None else self.text(name)

    def flag_or_none(self, name: str) -> bool | None:
        """A boolean or nothing."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            refuse(self.at(name), "must be true or false")
        return value

    def integer_or_none(self, name: str, *, least: int = 0, most: int = LARGEST_INTEGER) -> int | None:
        """An integer from `least` to `most`, or nothing. A whole float such as 5.0 is taken as one."""
        value = self.take(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            refuse(self.at(name), "must be an integer")
        if not least <= value <= most:
            refuse(self.at(name), f"must be from {least} to {most}")
        return value

    def number_or_none(self, name: str) -> float | None:
        """A number or nothing."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > LARGEST_INTEGER:
            refuse(self.at(name), "must be a number")
        return float(value)

    def array_or_none(self, name: str) -> list[Json] | None:
        """A list or nothing."""
        value = self.take(name)
        if value is not None and not isinstance(value, list):
            refuse(self.at(name), "must be a list")
        return value

    def mapping_or_none(self, name: str) -> dict[str, Json] | None:
        """An object as it is, or nothing."""
        value = self.take(name)
        if value is not None and not isinstance(value, dict):
            refuse(self.at(name), "must be an object")
        return value

    def inner(self, name: str) -> Fields:
        """An object that must be there."""
        return Fields(self.take(name), self.at(name))


def refuse(path: str, demand: str, *, hint: str = "") -> NoReturn:
    """Raises InvalidRequest: what is at `path` does not meet the demand."""
    raise InvalidRequest(f"{path} {demand}.", hint=hint, param=path)
