"""What the simulator was asked and how it ended, newest last. Bounded; secrets never get in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from waypost.chat import Json
from waypost.simulator.script import DialectName

MAX_ENTRIES = 2_000
MAX_KEPT_BODY_BYTES = 64 * 1024
HIDDEN = "***"
SHOWN_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "anthropic-beta",
        "anthropic-dangerous-direct-browser-access",
        "anthropic-version",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "openai-beta",
        "openai-organization",
        "openai-project",
        "transfer-encoding",
        "user-agent",
        "x-request-id",
        "x-waypost-simulate",
    }
)
"""Those whose values are known to hold no secret. Any other may: gateways and companies invent their own."""
SHOWN_PREFIX = "x-stainless-"
"""What the official SDKs say of themselves: language, version, retries, timeout."""

Outcome = Literal["open", "completed", "refused", "fault", "client_closed", "stopped"]
"""open: not over yet; refused: an error the real provider would give too (key, body, path); stopped: the simulator
was closed, or the batch it came in ended, before the end."""


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request. `rule` is its place in the script from 1, `fault` the kind; `body` is None if not JSON or too long.

    `headers` has every name, and the values of those that are known to hold no secret (`SHOWN_HEADERS`).
    `duration_ms` runs from the request's head to the last byte of the reply; `events_sent` counts whole stream events.
    """

    number: int
    time: str
    method: str
    path: str
    headers: Mapping[str, str]
    client_address: str = ""
    """The client's host and port: the same for all requests that came over one connection."""
    dialect: DialectName | None = None
    key_hash: str = ""
    """By what API keys are told apart (`credentials.key_hash`); empty if there was none."""
    body: Json = None
    body_sha256: str | None = None
    """Of the body's bytes, of any length and kind."""
    model: str | None = None
    streamed: bool | None = None
    rule: int | None = None
    fault: str | None = None
    status: int | None = None
    retry_after_s: float | None = None
    """The wait that was asked for."""
    outcome: Outcome = "open"
    events_sent: int = 0
    duration_ms: int | None = None
    losses: tuple[str, ...] = ()
    """What of the reply the wire format could not carry."""
    batch_id: str | None = None
    """The batch it came in, if it was not sent by itself."""
    custom_id: str | None = None
    """Its name within the batch."""


class Ledger:
    """Requests by number. An entry is replaced as more is known, never changed."""

    def __init__(self) -> None:
        self._entries: dict[int, SeenRequest] = {}
        self._arrived_s: dict[int, float] = {}
        self._count = 0
        self._changed = asyncio.Event()

    @property
    def requests(self) -> tuple[SeenRequest, ...]:
        """All that are kept, in the order they came."""
        return tuple(self._entries.values())

    def open(self, method: str, path: str, headers: Mapping[str, str], client_address: str) -> int:
        """Note a request that has begun; gives its number, from 1."""
        self._count += 1
        number = self._count
        kept = {name.lower(): value if _is_shown(name.lower()) else HIDDEN for name, value in headers.items()}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._entries[number] = SeenRequest(number, now, method, path, kept, client_address)
        self._arrived_s[number] = time.monotonic()
        self._tell()
        if len(self._entries) > MAX_ENTRIES:
            oldest = next(iter(self._entries))
            del self._entries[oldest], self._arrived_s[oldest]
        return number

    def note(self, number: int, **known: object) -> None:
        """Add what has become known of a request. One that was cleared away stays so."""
        if (entry := self._entries.get(number)) is not None:
            self._entries[number] = replace(entry, **known)  # type: ignore[arg-type]

    def close(self, number: int, outcome: Outcome) -> None:
        """The request is over."""
        if number in self._entries:
            duration_ms = round((time.monotonic() - self._arrived_s[number]) * 1000)
            self.note(number, outcome=outcome, duration_ms=duration_ms)
            self._tell()

    async def wait(self, number: int, *, ended: bool) -> SeenRequest:
        """The request of that number, once it has come or, if `ended`, once it is over."""
        while (entry := self._entries.get(number)) is None or (ended and entry.outcome == "open"):
            await self._changed.wait()
        return entry

    def _tell(self) -> None:
        """Wake those who wait; who waits from now on waits for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def clear(self) -> None:
        """Forget every request; numbers go on."""
        self._entries.clear()
        self._arrived_s.clear()


def _is_shown(name: str) -> bool:
    return name in SHOWN_HEADERS or name.startswith(SHOWN_PREFIX)
