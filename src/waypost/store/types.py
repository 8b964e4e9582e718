"""Column types that take any text a caller can think of: SQLite keeps what PostgreSQL refuses, and both refuse some.

One row that cannot be written would hold up all that come after it, so nothing is refused here: U+0000 and halves of
surrogate pairs become U+FFFD, and what is too long for its column is cut and ends in a part of its hash, so that
different texts stay different. A search for the same text finds it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec
from sqlalchemy import JSON, Dialect, String, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
HASH_DIGITS: Final = 16

Document: Final = JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
"""A list or a mapping; None is NULL."""


class AnyText(TypeDecorator[str]):
    """Text of at most `length` characters; None: of any length."""

    impl = Text
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:  # noqa: ARG002 - alike in both
        """VARCHAR or TEXT."""
        return Text() if self.length is None else String(self.length)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """What is written, and what is searched for."""
        return self.bind_processor(dialect)(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], str | None]:  # noqa: ARG002 - alike in both
        """The same, for each of many rows: one call for text that can stay as it is."""
        most = sys.maxsize if self.length is None else self.length

        def process(value: str | None) -> str | None:
            if value is None or (value.isascii() and len(value) <= most and "\0" not in value):
                return value
            value = storable(value)
            return value if len(value) <= most else _cut(value, most)

        return process


def storable(text: str) -> str:
    """The text without what no database takes."""
    text = text.replace("\0", REPLACEMENT)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(REPLACEMENT if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def to_json(value: Any) -> str:
    """JSON of a list or mapping that holds any text."""
    try:
        text = msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, TypeError):
        # The latter for a class of text that is not plain `str`.
        return msgspec.json.encode(_storable(value)).decode()
    return msgspec.json.encode(_storable(value)).decode() if "\\u0000" in text else text


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list | tuple) else value


def _cut(text: str, length: int) -> str:
    ending = f"~{hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]}"
    return text[: max(0, length - len(ending))] + ending[-length:]
