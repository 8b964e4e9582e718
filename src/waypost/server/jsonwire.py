"""JSON for replies and events: UTF-8, valid whatever a provider sent."""

from __future__ import annotations

from typing import Any

from waypost.codecs.jsonbytes import dump


def json_bytes(value: Any) -> bytes:
    """The value as JSON. Lone surrogates become U+FFFD, so that no reply fails on a provider's broken text."""
    return dump(value)[0]
