"""Reading request headers from an ASGI scope. They are put in order once for each request: many rules look at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.types import Scope

_READ: Final = "read_headers"


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header, in order. `name` in lower case, as ASGI gives it."""
    return [value.decode("latin-1") for value in _by_name(scope).get(name, ())]


def header_value(scope: Scope, name: bytes) -> str | None:
    """The first value of a header, None if it was not sent."""
    try:
        values = scope["state"][_READ].get(name)
    except KeyError:
        values = _by_name(scope).get(name)
    return values[0].decode("latin-1") if values else None


def _by_name(scope: Scope) -> Mapping[bytes, list[bytes]]:
    try:
        known: dict[bytes, list[bytes]] = scope["state"][_READ]
    except KeyError:
        known = {}
        scope.setdefault("state", {})[_READ] = known
        for name, value in scope["headers"]:
            known.setdefault(name, []).append(value)
    return known
