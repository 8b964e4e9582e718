"""Who asks: the API key of a request, wherever a provider's clients put it. The key itself is kept nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

INVALID_KEY: Final = "invalid"
"""The one key that is refused; every other that is not empty is good."""
KEY_HASH_LENGTH: Final = 12


@dataclass(frozen=True, slots=True)
class Credentials:
    """The headers (names are lower-case) and the query of a request."""

    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """The header's value, empty if it is not there."""
        return self.headers.get(name, "").strip()

    def bearer(self) -> str:
        """The token of `authorization: Bearer …`, empty if there is none. Source: RFC 6750, 2.1."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


def key_hash(key: str) -> str:
    """By what a key is told apart in the ledger: the first hexadecimal digits of its SHA-256; empty for no key."""
    return hashlib.sha256(key.encode()).hexdigest()[:KEY_HASH_LENGTH] if key else ""
