"""What proves to a provider who is calling, as headers of one request.

A protocol, so that keys, tokens that run out and signatures over the request fit one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from waypost.errors import ProviderError


class Authorization(Protocol):
    """Knows how to sign or mark one request. Its secrets are in no text form of it."""

    async def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        """The headers to send with exactly this request, names in lower case. Raises ProviderError."""

    def report(self, error: ProviderError | None) -> bool:
        """How the request ended; None: it was let in. True: with new headers it may well be let in now."""


class FixedHeaders:
    """The same headers for every request, such as those of one API key, or none."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    async def headers(self, _method: str, _url: str, _body: bytes) -> Mapping[str, str]:
        """Always the same."""
        return self._headers

    def report(self, _error: ProviderError | None) -> bool:
        """There are no others."""
        return False
