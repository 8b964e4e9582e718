"""Notes, before anything can go wrong, in which form errors of this path are told (see `envelope.error_reply`)."""

from __future__ import annotations

from functools import partial

from starlette.types import Scope

from waypost.server.doors.errors import door_error
from waypost.server.doors.table import door_at
from waypost.server.envelope import ERROR_FORM


def note_dialect(scope: Scope) -> None:
    """On a front door's path every error is in its dialect, also those of the rules further in."""
    door = door_at(scope)
    if door is not None:
        scope.setdefault("state", {})[ERROR_FORM] = partial(door_error, door)
