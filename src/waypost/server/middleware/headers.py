"""Reading request headers from an ASGI scope."""

from __future__ import annotations

from starlette.types import Scope


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header, in order. `name` in lower case, as ASGI gives it."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def header_value(scope: Scope, name: bytes) -> str | None:
    """The first value of a header, None if it was not sent."""
    values = header_values(scope, name)
    return values[0] if values else None
