"""Takes secrets out of text that providers send: some repeat the key they refuse."""

from __future__ import annotations

import re
from collections.abc import Iterable

_KEY_SHAPES = re.compile(r"\b(?:sk|pk|rk|gsk|xai|key)[-_][A-Za-z0-9_*.\-]{6,200}|\bAIza[A-Za-z0-9_\-]{20,60}")
"""Shapes of keys that vendors hand out, masked ones (`sk-abc***xyz`) too."""
_MIN_SECRET_CHARACTERS = 6
"""Anything shorter is no secret, and would be found inside ordinary words."""


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` with each of `secrets`, and whatever has the shape of a vendor's key, replaced by "[key]"."""
    for secret in secrets:
        if len(secret) >= _MIN_SECRET_CHARACTERS:
            text = text.replace(secret, "[key]")
    return _KEY_SHAPES.sub("[key]", text)


def clean_body(body: bytes, secrets: Iterable[str] = ()) -> bytes:
    """The same for a body, whatever it holds: bytes that are no text stay as they are."""
    return clean(body.decode("utf-8", "surrogateescape"), secrets).encode("utf-8", "surrogateescape")
