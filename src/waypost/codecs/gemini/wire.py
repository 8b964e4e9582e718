"""What the modules of this codec share: reading Google's JSON, opaque data, and the list of losses.

Google reads JSON by protobuf's rules, and so does this: snake_case names are taken for camelCase ones, one object for
a list of one, a whole float for an integer. The invariant: reading a value of the wrong type raises WireError with its
path in the body ("contents.0.parts"). Source: Protocol Buffers, ProtoJSON format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from waypost.chat import Json, Opaque
from waypost.codecs.codec import Loss
from waypost.codecs.reading import WireError, an_object, join, optional, rest

NAME: Final = "gemini"
FAMILY: Final = "google"

Members = dict[str, Json]

_LARGEST: Final = 2**53
"""Numbers beyond this are not exact in every JSON reader."""

_FREE: Final = frozenset({
    "args",
    "labels",
    "parameters",
    "parametersJsonSchema",
    "partMetadata",
    "response",
    "responseJsonSchema",
    "responseSchema",
})  # fmt: skip
"""Members whose value has names of the caller's own."""
_UNDERSCORE: Final = re.compile(r"(?<=[a-zA-Z0-9])_([a-z0-9])")


def camel_case(value: Json, path: str = "") -> Json:
    """The value with each member under the name that Google's JSON has for it. Raises WireError if both are given."""
    if isinstance(value, list):
        return [camel_case(item, f"{path}.{number}") for number, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    renamed: Members = {}
    for given, item in value.items():
        name = _UNDERSCORE.sub(lambda found: found[1].upper(), given)
        if name in renamed:
            raise WireError(join(path, name), "It is given twice, in two spellings")
        renamed[name] = item if name in _FREE else camel_case(item, join(path, name))
    return renamed


def repeated(data: Mapping[str, Json], name: str, path: str) -> list[Members]:
    """The member as a list of objects, empty if it is absent or null. One object is a list of one."""
    value = data.get(name)
    if type(value) is dict:
        return [value]
    items = optional(data, name, list, path) or []
    return [an_object(item, f"{join(path, name)}.{index}") for index, item in enumerate(items)]


def number(data: Mapping[str, Json], name: str, path: str) -> float | None:
    """The member as a number, None if it is absent or null."""
    value = data.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not abs(value) <= _LARGEST:
        raise WireError(join(path, name), "Input should be a number")
    return float(value)


def integer(data: Mapping[str, Json], name: str, path: str) -> int | None:
    """The member as an integer, None if it is absent or null."""
    value = number(data, name, path)
    if value is not None and not value.is_integer():
        raise WireError(join(path, name), "Input should be an integer")
    return None if value is None else int(value)


def keep(data: Mapping[str, Json], *known: str) -> Opaque:
    """Members without a canonical place, as opaque data."""
    others = rest(data, *known)
    return {FAMILY: others} if others else {}


def own(opaque: Mapping[str, Mapping[str, Any]]) -> Members:
    """This family's data."""
    return dict(opaque.get(FAMILY, {}))


def graft(wire: Members, extra: Mapping[str, Json]) -> Members:
    """`wire` with the members of `extra` that it does not have, one level down too."""
    for name, value in extra.items():
        held = wire.get(name)
        if isinstance(held, dict) and isinstance(value, Mapping):
            wire[name] = {**value, **held}
        else:
            wire.setdefault(name, value)
    return wire


def difference(written: Mapping[str, Json], derived: Mapping[str, Json]) -> Members:
    """What has to be applied to `derived` to get `written`: None leaves a member out."""
    changed = {name: value for name, value in written.items() if value is not None and derived.get(name) != value}
    return {**changed, **{name: None for name in derived if written.get(name) is None}}


def apply(derived: Mapping[str, Json], changes: Mapping[str, Json]) -> Members:
    """The inverse of `difference`."""
    return {name: value for name, value in {**derived, **changes}.items() if value is not None}


class Losses:
    """Collects what could not be carried over; the same loss counts once."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[Loss, None] = {}

    def add(self, what: str, why: str) -> None:
        """Note one loss: the canonical field or part, and a short sentence."""
        self._found[Loss(what, why)] = None

    def foreign(self, what: str, opaque: Mapping[str, Any]) -> None:
        """Note the data of other families in a part's opaque data or a request's options."""
        for family in opaque:
            if family != FAMILY:
                self.add(f"{what}[{family}]", f"Data of the {family} family means nothing to Gemini.")

    def repaired(self, what: str) -> None:
        """Note that text was mended to be UTF-8."""
        self.add(what, "Halves of surrogate pairs, which are no text, were written as U+FFFD.")

    def found(self) -> tuple[Loss, ...]:
        """All of them, in the order noted."""
        return tuple(self._found)
