"""The keys in the settings file that callers may show; those in the database are made elsewhere.

Invariant: neither a key nor its hash is in any text form of the settings: the hash of a weak key can be guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from hashlib import sha256
from re import fullmatch
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from waypost.settings.fields import Name, Part, Secret

MIN_KEY_CHARACTERS = 16


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < MIN_KEY_CHARACTERS:
        raise ValueError(f"is too short to be safe; use a random one of {MIN_KEY_CHARACTERS} characters or more")
    return secret


def _hash(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip().lower()
    if not fullmatch("[0-9a-f]{64}", text):
        raise ValueError("must be the key's SHA-256 in 64 hexadecimal digits")
    return SecretStr(text)


class KeySettings(Part):
    """A key that callers of this server may show."""

    key: Annotated[Secret, AfterValidator(_long_enough)] | None = None
    """The key itself, best written as ${NAME} so that it stays out of the file."""
    sha256: Annotated[SecretStr, AfterValidator(_hash)] | None = None
    """The key's SHA-256 in hexadecimal digits, instead of the key."""
    admin: bool = False
    """Whether the key may also administer: reload the settings and read every request's story."""
    routes: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """Names of routes, aliases or models the key may ask for, * standing for any text; null is all."""

    @model_validator(mode="after")
    def _one_form(self) -> KeySettings:
        if (self.key is None) == (self.sha256 is None):
            raise ValueError("needs either key or sha256" + (", not both" if self.key else ""))
        return self

    def digest(self) -> bytes:
        """The SHA-256 of the key, 32 bytes."""
        if self.sha256 is not None:
            return bytes.fromhex(self.sha256.get_secret_value())
        return sha256(self.key.get_secret_value().encode()).digest() if self.key else b""

    def allows(self, name: str) -> bool:
        """May it ask for the model, route or alias called `name` in a request?"""
        return self.routes is None or any(fnmatchcase(name, pattern) for pattern in self.routes)


def same_keys(keys: Mapping[str, KeySettings]) -> tuple[str, str] | None:
    """The names of two entries that are one key, None if there are none."""
    seen: dict[bytes, str] = {}
    for name, settings in keys.items():
        first = seen.setdefault(settings.digest(), name)
        if first != name:
            return first, name
    return None
