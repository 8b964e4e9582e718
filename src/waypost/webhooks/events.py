"""What is told: an event as JSON, and the message that carries it. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias, get_args

EventType: TypeAlias = Literal[
    "job.succeeded", "job.failed", "job.cancelled", "batch.finished", "budget.warning", "webhook.test"
]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
LARGEST_BODY_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """Something that happened at `at_ms` (Unix ms). `data` is JSON data: ids and figures rather than results.

    `text` is a sentence for people, which chat services show.
    """

    type: EventType
    data: Mapping[str, Any]
    at_ms: int
    text: str | None = None

    def body(self) -> bytes:
        """As JSON in ASCII: type, timestamp, data and, if there is one, text. Raises ValueError if it is too large."""
        told: dict[str, Any] = {"type": self.type, "timestamp": iso_time(self.at_ms), "data": dict(self.data)}
        if self.text is not None:
            told["text"] = self.text
        body = json.dumps(told, separators=(",", ":")).encode("ascii")
        if len(body) > LARGEST_BODY_BYTES:
            raise ValueError(f"an event of {len(body)} bytes; {LARGEST_BODY_BYTES} are the most that a webhook is sent")
        return body


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: the same id and bytes at every try."""

    id: str
    body: bytes


def iso_time(at_ms: int) -> str:
    """`2026-11-26T04:00:00.250Z`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
