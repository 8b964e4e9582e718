"""Who deployed what, when, and how it ended: two lines on the host for each deploy, one when it begins."""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

Action: TypeAlias = Literal["deploy", "rollback"]
Outcome: TypeAlias = Literal["unfinished", "done", "refused", "rolled_back", "failed"]
"""`rolled_back`: the version before serves, as it did. `failed`: nobody knows that it does."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One deploy. `previous` None: nothing served before. `unfinished`: it was begun, and its end is not known."""

    id: str
    at: str
    by: str
    action: Action
    version: str
    previous: str | None
    sha256: str | None = None
    note: str | None = None
    outcome: Outcome = "unfinished"
    step: str | None = None
    """The one that failed."""
    reason: str | None = None
    duration_s: float | None = None
    backup: str | None = None

    def told(self) -> dict[str, Any]:
        """For a line of the history."""
        return asdict(self)


def now_text() -> str:
    """This moment, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def new_id() -> str:
    """An id that no other deploy has."""
    return f"deploy_{secrets.token_hex(6)}"


def deployer() -> str:
    """Whoever runs this: in a pipeline, who set it off."""
    actor = os.environ.get("GITHUB_ACTOR")
    return f"{actor} (pipeline)" if actor else f"{getpass.getuser()}@{socket.gethostname()}"


def entries_in(text: str) -> list[Entry]:
    """The history, the oldest first; the last line of each deploy counts. What is no line of ours is left out."""
    found: dict[str, Entry] = {}
    for told in _lines(text.splitlines()):
        found[told["id"]] = Entry(**{name: told[name] for name in Entry.__dataclass_fields__ if name in told})
    return list(found.values())


def _lines(lines: Iterable[str]) -> Iterable[Mapping[str, Any]]:
    for line in lines:
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and {"id", "at", "by", "action", "version", "previous"} <= told.keys():
            yield told
