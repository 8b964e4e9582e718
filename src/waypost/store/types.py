"""Column types that take any text a caller can think of: SQLite keeps what PostgreSQL refuses, and both refuse some.

One row that cannot be written would hold up all that come after it, so nothing is refused here: U+0000 and halves of
surrogate pairs become U+FFFD, and what is too long for its column is cut and ends in a part of its hash, so that
different texts stay different. A search for the same text finds it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

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

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - alike in both
        """What is written, and what is searched for."""
        if value is None:
            return None
        value = storable(value)
        return value if self.length is None or len(value) <= self.length else _cut(value, self.length)


def storable(text: str) -> str:
    """The text without what no database takes."""
    if "\0" in text:
        text = text.replace("\0", REPLACEMENT)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "".join(REPLACEMENT if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def to_json(value: Any) -> str:
    """JSON of a list or mapping that holds any text."""
    text = json.dumps(value, ensure_ascii=False)
    return (
        text if storable(text) == text and "\\u0000" not in text else json.dumps(_storable(value), ensure_ascii=False)
    )


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list | tuple) else value


def _cut(text: str, length: int) -> str:
    ending = f"~{hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]}"
    return text[: max(0, length - len(ending))] + ending[-length:]
