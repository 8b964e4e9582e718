"""Which type a document is of: by its name, else its media type, else its first bytes, and never against those."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final, Literal, TypeAlias

from waypost.errors import BinaryDocument, DamagedDocument, EncryptedDocument, UnsupportedDocument

Format: TypeAlias = Literal["text", "markdown", "html", "pdf", "docx"]

MEDIA_TYPES: Final[Mapping[str, Format]] = {
    "text/plain": "text",
    "text/markdown": "markdown",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
}
SUFFIXES: Final[Mapping[str, Format]] = {
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "docx",
}
TOLD_AS: Final[Mapping[Format, str]] = {
    "text": "text/plain",
    "markdown": "text/markdown",
    "html": "text/html",
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}
_PDF: Final = b"%PDF-"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_COMPOUND: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Old Office files begin so, and new ones with a password."""
_HEAD_BYTES: Final = 1024
_SAID_NOTHING: Final = ("", "application/octet-stream", "binary/octet-stream")


def format_of(data: bytes, filename: str, media_type: str | None) -> Format:
    """The document's format. Raises UnsupportedDocument, BinaryDocument, DamagedDocument, EncryptedDocument."""
    suffix = PurePosixPath(filename.replace("\\", "/")).suffix.lower()
    plain_type = (media_type or "").partition(";")[0].strip().lower()
    named = SUFFIXES.get(suffix) or (None if suffix in SUFFIXES else MEDIA_TYPES.get(plain_type))
    if named is None and (suffix or plain_type not in _SAID_NOTHING):
        raise UnsupportedDocument(f'Documents of the type "{(suffix or plain_type)[:40]}" are not read here.')
    found = _by_bytes(data)
    if named is None:
        return found or "text"
    _demand_agreement(named, found, data)
    return named


def _by_bytes(data: bytes) -> Format | None:
    if _PDF in data[:_HEAD_BYTES]:
        return "pdf"
    return "docx" if data.startswith(_ZIP) else None


def _demand_agreement(named: Format, found: Format | None, data: bytes) -> None:
    if named in ("pdf", "docx"):
        if named == "docx" and data.startswith(_COMPOUND):
            raise EncryptedDocument("The Word document opens with a password only.")
        if found != named:
            raise DamagedDocument(f"The document is called {TOLD_AS[named]}, and does not begin like one.")
    elif data.startswith((_PDF, *_ZIP, _COMPOUND)):
        raise BinaryDocument("The document is called text, and is a PDF, an archive or an Office file.")
