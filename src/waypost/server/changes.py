"""Two readings of the settings compared: which keys differ, and which of them only count at the start. No values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from waypost.settings import Settings

START_ONLY: Final = (
    "server.host",
    "server.port",
    "server.workers",
    "server.resume_grace_s",
    "server.resume_buffer_bytes",
    "server.idempotency_ttl_s",
    "server.idempotency_buffer_bytes",
    "server.explain_records",
    "data_dir",
    "models_dir",
    "database_url",
    "ledger",
    "telemetry",
)
"""Keys whose values in force are those of the start; a part's name stands for all in it."""

_WHOLE: Final = tuple(key for key in START_ONLY if "." not in key)


def waits_for_restart(key: str) -> bool:
    """Does the key only count at the start?"""
    return key in START_ONLY or key.partition(".")[0] in _WHOLE


def changed_keys(before: Settings, after: Settings) -> tuple[str, ...]:
    """The keys that differ, in the order of the settings: `providers.first`, `server.max_in_flight`, `data_dir`."""
    return tuple(_differing(before, after))


def with_start_values(before: Settings, after: Settings) -> Settings:
    """What is in force after a reload: all of `after`, but for the START_ONLY keys, which stay those of `before`."""
    server_names = [key.removeprefix("server.") for key in START_ONLY if key.startswith("server.")]
    kept = {name: getattr(before.server, name) for name in server_names}
    server = after.server.model_copy(update=kept)
    return after.model_copy(update={"server": server, **{name: getattr(before, name) for name in _WHOLE}})


def _differing(before: Settings, after: Settings) -> Iterator[str]:
    for name in type(before).model_fields:
        old, new = _parts(getattr(before, name)), _parts(getattr(after, name))
        if old is None or new is None:
            if getattr(before, name) != getattr(after, name):
                yield name
        else:
            yield from (f"{name}.{key}" for key in {**old, **new} if old.get(key) != new.get(key))


def _parts(value: Any) -> dict[str, Any] | None:
    """The entries of a mapping, or the fields of a part; None for a plain value."""
    if isinstance(value, dict):
        return value
    fields = getattr(type(value), "model_fields", None)
    return None if fields is None else {name: getattr(value, name) for name in fields}
