"""Server-sent events as a client reads them: no more than the standard demands, and none of the project's own code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Seen:
    """One event: its type, empty if it had none, and its data; JSON where that is JSON."""

    kind: str
    data: Any


def events_in(body: bytes) -> list[Seen]:
    """The whole events in a stream's bytes; half an event at the end is none."""
    whole = body.decode().replace("\r\n", "\n").rpartition("\n\n")[0]
    return [event for block in whole.split("\n\n") if (event := _event(block.split("\n"))) is not None]


def _event(lines: list[str]) -> Seen | None:
    fields = [line.partition(":") for line in lines if line and not line.startswith(":")]
    data = "\n".join(value.removeprefix(" ") for name, _, value in fields if name == "data")
    kind = next((value.strip() for name, _, value in fields if name == "event"), "")
    return Seen(kind, _json(data)) if data else None


def _json(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data
