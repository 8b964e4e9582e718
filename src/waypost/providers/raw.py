"""Calls of a provider's other endpoints, passed through as they are: any method, any path, any body.

Nothing is changed or translated. What the caller may say besides is in `UP_HEADERS`, what it is told in `DOWN_HEADERS`:
credentials are the provider's own in both directions, and whatever belongs to one connection only stays there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from waypost.transport import Body

UP_HEADERS: Final = frozenset({
    "accept",
    "accept-language",
    "anthropic-beta",
    "anthropic-version",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "openai-beta",
    "range",
})  # fmt: skip
"""What providers are told of the caller's headers, and those whose names begin as UP_PREFIXES do."""
UP_PREFIXES: Final = ("x-goog-upload-",)

DOWN_HEADERS: Final = frozenset({
    "accept-ranges",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "location",
    "openai-processing-ms",
    "openai-version",
    "request-id",
    "retry-after",
    "retry-after-ms",
})  # fmt: skip
"""What callers are told of the provider's headers, and those whose names begin as DOWN_PREFIXES do."""
DOWN_PREFIXES: Final = ("x-ratelimit-", "anthropic-ratelimit-", "x-goog-upload-")


@dataclass(frozen=True, slots=True)
class RawCall:
    """One call. `path` (below the account's base URL) and `query` are still encoded, as the caller wrote them."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Body | None = field(default=None, repr=False)
    """Pieces go up as they come, chunked unless the headers say a content-length. What they raise, the call raises."""


class RawReply(Protocol):
    """What came back, inside the block that opened it."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]:
        """All of them; names in lower case."""

    @property
    def has_come(self) -> bool:
        """Was the whole body read, and is known to have been all of it?"""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises ProviderError."""


class RawError:
    """An error that came back, whole, cleaned of our secrets."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {name: value for name, value in headers.items() if name != "content-length"}
        self.has_come = True
        self._body = body

    async def chunks(self) -> AsyncGenerator[bytes]:
        """See `RawReply`."""
        yield self._body


@runtime_checkable
class RawProvider(Protocol):
    """A provider whose other endpoints can be called; `takes_raw` says whether it is one."""

    takes_raw: bool

    def raw(self, call: RawCall) -> AbstractAsyncContextManager[RawReply]:
        """The reply, whatever its status. Leaving the block ends the call.

        Raises InvalidRequest for a path that leads elsewhere, and ProviderError if there is no reply.
        """


def passed_up(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of the caller's headers that the provider may see; names in lower case."""
    return {name: value for name, value in headers.items() if name in UP_HEADERS or name.startswith(UP_PREFIXES)}


def passed_down(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of the provider's headers that the caller may see; names in lower case."""
    return {name: value for name, value in headers.items() if name in DOWN_HEADERS or name.startswith(DOWN_PREFIXES)}
