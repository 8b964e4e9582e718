"""How a stream's events lie on the wire: as server-sent events, as Google's JSON array, or as lines of JSON.

A codec writes server-sent events; the array holds their data, written over several lines as Google writes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec

from waypost.simulator.script import Delivery

JSON_UTF8: Final = "application/json; charset=UTF-8"


class Framing(Protocol):
    """One way. Holds no state: `number` is the event's place in the stream, from 0."""

    @property
    def content_type(self) -> str:
        """The Content-Type of the stream."""

    def frame(self, event: bytes, number: int, delivery: Delivery) -> bytes:
        """The bytes of one server-sent event, as they are to be sent."""

    def closing(self, number: int) -> bytes:
        """What ends a stream of that many events, if HTTP's own end is not all."""

    def error_body(self, body: bytes) -> bytes:
        """The body of an error reply to a request for a stream."""


@dataclass(frozen=True, slots=True)
class EventStream:
    """Server-sent events."""

    content_type: str = "text/event-stream; charset=utf-8"

    def frame(self, event: bytes, number: int, delivery: Delivery) -> bytes:  # noqa: ARG002 - each is like the others
        """With the wanted line ends, and a comment before it if wanted."""
        if delivery.comments:
            event = b": simulated\n\n" + event
        return with_line_ends(event, delivery)

    def closing(self, number: int) -> bytes:  # noqa: ARG002 - never anything
        """Nothing."""
        return b""

    def error_body(self, body: bytes) -> bytes:
        """As it is."""
        return body


@dataclass(frozen=True, slots=True)
class JsonArray:
    """The events as the items of one array, a line break between them: what Google streams without `alt=sse`."""

    content_type: str = JSON_UTF8

    def frame(self, event: bytes, number: int, delivery: Delivery) -> bytes:
        """The event's data, with what stands between it and the one before it."""
        data = event.partition(b"data: ")[2].strip()
        lead = b"[" if number == 0 else b",\r\n"
        return lead + with_line_ends(_spread(data), replace(delivery, line_end=delivery.line_end or "lf"))

    def closing(self, number: int) -> bytes:
        """The bracket."""
        return b"\n]" if number else b"[]"

    def error_body(self, body: bytes) -> bytes:
        """An array too, of one."""
        return b"[" + body + b"]"


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Lines of JSON, each with its end; an error is one more line."""

    content_type: str

    def frame(self, event: bytes, number: int, delivery: Delivery) -> bytes:  # noqa: ARG002 - each is like the others
        """The line; of a server-sent event its data."""
        _, mark, data = event.partition(b"data: ")
        return data.strip() + b"\n" if mark and not event.startswith(b"{") else event

    def closing(self, number: int) -> bytes:  # noqa: ARG002 - never anything
        """Nothing."""
        return b""

    def error_body(self, body: bytes) -> bytes:
        """As it is."""
        return body


EVENT_STREAM: Final = EventStream()
JSON_ARRAY: Final = JsonArray()


def with_line_ends(data: bytes, delivery: Delivery) -> bytes:
    """The bytes with the line ends that are wanted."""
    if delivery.line_end is None:
        return data
    plain = data.replace(b"\r\n", b"\n")
    return plain if delivery.line_end == "lf" else plain.replace(b"\n", b"\r\n")


def _spread(data: bytes) -> bytes:
    try:
        return msgspec.json.format(data, indent=2)
    except msgspec.DecodeError:
        return data  # an event that was made malformed
