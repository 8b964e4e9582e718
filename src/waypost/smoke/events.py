"""Server-sent events, read on their own: a decoder shared with the server would share its mistakes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from waypost.smoke.verdict import CheckFailed


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, empty if it has none, and its data."""

    name: str
    data: str

    def json(self) -> dict[str, Any]:
        """The data as an object. Raises CheckFailed."""
        try:
            value = json.loads(self.data)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise CheckFailed(f"An event of the stream is no JSON object: {self.data[:100]}")
        return value


def events_in(body: bytes) -> list[Event]:
    """The events of a whole stream; one that was cut off is none. Source: WHATWG HTML, 9.2.6."""
    text = body.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    *whole, _rest = text.split("\n\n")
    read = (_event(lines.split("\n")) for lines in whole)
    return [event for event in read if event is not None]


def _event(lines: list[str]) -> Event | None:
    fields: dict[str, list[str]] = {"event": [], "data": []}
    for line in lines:
        name, _, value = line.partition(":")
        if name in fields:
            fields[name].append(value.removeprefix(" "))
    if not fields["data"]:
        return None
    return Event(fields["event"][-1] if fields["event"] else "", "\n".join(fields["data"]))
