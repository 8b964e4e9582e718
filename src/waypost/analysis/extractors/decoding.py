"""Bytes as text: which encoding they are in, told rather than guessed wherever it can be.

A byte-order mark and UTF-8 tell themselves; after them a declared encoding counts. Windows-1252 is taken for granted
only where nearly all is ASCII, as in the languages of Western Europe, and said; anything else is an error.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final

from waypost.errors import BinaryDocument, UnknownEncoding

MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte-order marks, each before those that it begins with."""
WESTERN: Final = "windows-1252"
WESTERN_SHARE: Final = 0.25
"""More bytes beyond ASCII are another script's."""
_NO_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_CONTROL_SHARE: Final = 0.002
_FORBIDDEN: Final = frozenset(
    {"utf-7", "idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs"}
)
"""Encodings of Python's that no document is in, or that let text mean something else."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """`notes` say what was taken for granted."""

    text: str
    encoding: str
    notes: tuple[str, ...] = ()


def decoded(data: bytes, declared: str | None = None) -> Decoded:
    """The text. `declared` is the encoding somebody said. Raises BinaryDocument, UnknownEncoding."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return _as(data[len(mark) :], encoding)
    _demand_text(data)
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError as error:
        if declared is not None:
            return _as(data, declared)
        return _western(data, error.start)


def _as(data: bytes, encoding: str) -> Decoded:
    try:
        known = codecs.lookup(encoding)
    except LookupError:
        known = None
    if known is None or known.name.replace("_", "-") in _FORBIDDEN or not getattr(known, "_is_text_encoding", False):
        raise UnknownEncoding(f'There is no encoding of texts named "{encoding[:40]}".')
    try:
        return Decoded(data.decode(known.name), known.name)
    except UnicodeError as error:
        at = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        raise UnknownEncoding(f"The document is said to be {encoding[:40]}, and is not{at}.") from error


def _demand_text(data: bytes) -> None:
    controls = len(_NO_TEXT.findall(data))
    if b"\x00" in data or controls > _CONTROL_SHARE * len(data):
        raise BinaryDocument("The document is no text: it holds bytes that no text has.")


def _western(data: bytes, first: int) -> Decoded:
    beyond = len(data) - len(data.translate(None, bytes(range(0x80, 0x100))))
    try:
        text = data.decode(WESTERN)
    except UnicodeDecodeError:
        text = ""
    if not text or beyond > WESTERN_SHARE * len(data):
        raise UnknownEncoding(f"The document is not UTF-8 (byte {first}), and nothing says which encoding it is in.")
    return Decoded(text, WESTERN, (f"It is not UTF-8 and was taken for {WESTERN}.",))
