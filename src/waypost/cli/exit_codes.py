"""The exit codes, as one table: what a script may rely on."""

from __future__ import annotations

from collections.abc import Mapping

from waypost.errors import AllTargetsFailed, ConfigurationError, DatabaseUnavailable, ModelError, WaypostError

OK = 0
FAILED = 1
USAGE = 2
CONFIGURATION = 3
LOCAL_MODEL = 4
ADDRESS = 5
DATABASE = 6
INTERRUPTED = 130

MEANINGS: Mapping[int, str] = {
    OK: "done",
    FAILED: "a request, a provider or a check failed",
    USAGE: "the command line was wrong",
    CONFIGURATION: "the settings cannot be used",
    LOCAL_MODEL: "a local model is missing or damaged, or cannot be fetched or run",
    ADDRESS: "the address or port cannot be listened on",
    DATABASE: "the database cannot be reached, or is full, read-only or damaged",
    INTERRUPTED: "interrupted with Ctrl-C",
}


class AddressUnavailable(ConfigurationError):
    """The server cannot listen where it was told to."""


BY_ERROR: Mapping[type[WaypostError], int] = {
    AddressUnavailable: ADDRESS,
    ConfigurationError: CONFIGURATION,
    DatabaseUnavailable: DATABASE,
    ModelError: LOCAL_MODEL,
    WaypostError: FAILED,
}


def exit_code(error: WaypostError) -> int:
    """The code of the nearest class in the table; where all targets failed, the one that their errors agree on."""
    if isinstance(error, AllTargetsFailed):
        kinds = [attempt.error for attempt in error.attempts]
        codes = {exit_code(kind) if isinstance(kind, WaypostError) else FAILED for kind in kinds}
        return codes.pop() if len(codes) == 1 else FAILED
    return next(BY_ERROR[kind] for kind in type(error).__mro__ if kind in BY_ERROR)
