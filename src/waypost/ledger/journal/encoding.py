"""Records as bytes (MessagePack), and back. What a caller said must never keep a record from being written."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from waypost.ledger.records import Record

_INSTEAD: Final = "\N{REPLACEMENT CHARACTER}"
_INT64: Final = 2**63 - 1
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Record).decode

UnreadableRecord = msgspec.DecodeError
"""The bytes are none of the records that this version knows."""


def encode(record: Record) -> bytes:
    """The record's bytes. Half a surrogate pair becomes U+FFFD, and a number beyond 64 bits the last one."""
    try:
        return _encode(record)
    except (UnicodeEncodeError, OverflowError):
        return _encode(_mended(record))


def decode(payload: bytes | memoryview) -> Record:
    """The record. Raises UnreadableRecord."""
    record: Record = _decode(payload)
    return record


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(_INSTEAD if "\ud800" <= character <= "\udfff" else character for character in value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return max(-_INT64, min(value, _INT64))
    if isinstance(value, dict):
        return {_mended(name): _mended(item) for name, item in value.items()}
    if isinstance(value, msgspec.Struct):
        return type(value)(*(_mended(getattr(value, name)) for name in value.__struct_fields__))
    return value
