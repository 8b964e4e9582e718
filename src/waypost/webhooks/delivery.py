"""One try to deliver a message: a POST, and what came of it.

The status decides as soon as it is there; of the reply's body only the beginning is read, for the log. No cookies, no
redirects, no proxy, no compressed replies asked for. Errors of the network are outcomes; only cancellation is raised.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from waypost.codecs.replies import retry_after_s
from waypost.errors import (
    MalformedResponse,
    ProviderConnectionLost,
    ProviderError,
    ProviderTimeout,
    ProviderUnreachable,
    WebhookRefused,
)
from waypost.transport import Deadlines, HttpClient, Lookup, Reply
from waypost.webhooks.address import AddressRules, CheckedLookup, Resolve, shown_address, system_lookup
from waypost.webhooks.events import Message
from waypost.webhooks.signing import signed_headers

logger = logging.getLogger("waypost.webhooks")

ADDRESS_REFUSED: Final = "address_refused"
REDIRECT: Final = "redirect"
_CODES: Final[Mapping[type[ProviderError], str]] = {
    ProviderUnreachable: "unreachable",
    ProviderConnectionLost: "connection_lost",
    ProviderTimeout: "timeout",
    MalformedResponse: "not_http",
}
"""The transport's errors, which speak of providers, in this log's words."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one try. `kept_bytes`: of the reply's body, for the log; no more of it is read than `read_bytes`."""

    connect_s: float = 5.0
    total_s: float = 20.0
    kept_bytes: int = 1024
    read_bytes: int = 64 * 1024

    @property
    def deadlines(self) -> Deadlines:
        """As the transport takes them."""
        return Deadlines(connect_s=self.connect_s, first_byte_s=None, idle_s=1.0, total_s=self.total_s)


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """What came of a try. `status` None: no reply. `error_code` None: it arrived. `reply` is the body's beginning."""

    status: int | None = None
    error_code: str | None = None
    reply: bytes = b""
    retry_after_s: float | None = None
    duration_ms: int = 0

    @property
    def has_arrived(self) -> bool:
        """Did the receiver say that it took it?"""
        return self.error_code is None


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where times come from: Unix seconds for signatures, seconds of any origin for durations."""

    unix_s: Callable[[], float] = time.time
    passing_s: Callable[[], float] = field(default=time.monotonic)


class Sender:
    """Sends by these rules. May be used from several event loops; closed in each.

    `resolve` makes, for each event loop, what looks names up. Raises ConfigurationError if `ca_file` cannot be used.
    """

    def __init__(
        self,
        rules: AddressRules,
        *,
        limits: Limits = Limits(),
        ca_file: Path | None = None,
        resolve: Callable[[], Resolve] = system_lookup,
        clocks: Clocks = Clocks(),
    ) -> None:
        self._rules = rules
        self._limits = limits
        self._clocks = clocks

        def lookup() -> Lookup:
            return CheckedLookup(rules, resolve())

        self._client = HttpClient(ca_file=ca_file, lookup=lookup, any_coding=True)

    async def deliver(self, url: str, message: Message, secrets: Sequence[str]) -> DeliveryOutcome:
        """Send it once, signed with each of the secrets."""
        begun_s = self._clocks.passing_s()
        try:
            self._rules.check(url)
            status, reply, wait_s = await self._sent(url, message, secrets)
        except WebhookRefused as error:
            logger.warning("a webhook to %s was not called: %s", shown_address(url), error.message)
            return DeliveryOutcome(error_code=ADDRESS_REFUSED, duration_ms=self._passed_ms(begun_s))
        except ProviderError as error:
            code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), error.code)
            return DeliveryOutcome(error_code=code, duration_ms=self._passed_ms(begun_s))
        return DeliveryOutcome(status, _code_of(status), reply, wait_s, self._passed_ms(begun_s))

    async def close(self) -> None:
        """End all connections of this loop."""
        await self._client.close()

    async def _sent(self, url: str, message: Message, secrets: Sequence[str]) -> tuple[int, bytes, float | None]:
        headers = {
            "content-type": "application/json",
            **signed_headers(message.id, message.body, secrets, at_s=int(self._clocks.unix_s())),
        }
        deadlines = self._limits.deadlines
        async with self._client.send("POST", url, headers=headers, body=message.body, deadlines=deadlines) as reply:
            beginning = await self._beginning(reply)
            return reply.status, beginning, retry_after_s(reply.headers, clock=self._clocks.unix_s)

    async def _beginning(self, reply: Reply) -> bytes:
        """What the log keeps. Reading on to the end of a short body lets its connection be used again."""
        kept, read_bytes = bytearray(), 0
        # A body that breaks off or does not end takes nothing back of what the status said.
        with suppress(ProviderError):
            while read_bytes < self._limits.read_bytes and (chunk := await reply.next_chunk()):
                read_bytes += len(chunk)
                kept += chunk[: self._limits.kept_bytes - len(kept)]
        return b"" if reply.headers.get("content-encoding") else bytes(kept)

    def _passed_ms(self, begun_s: float) -> int:
        return round((self._clocks.passing_s() - begun_s) * 1000)


def _code_of(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    return REDIRECT if 300 <= status < 400 else f"status_{status}"
