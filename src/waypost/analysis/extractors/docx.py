"""The text of a Word document (.docx): the paragraphs and tables of its main part, in order.

The file is a ZIP archive of XML parts. Only the main part is unpacked, up to a limit of bytes that is counted rather
than believed; XML with a document type, which is where entities come from, is refused.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Final
from xml.parsers import expat

from waypost.errors import DamagedDocument, DocumentExpands, EncryptedDocument, UnsupportedDocument

MAIN_PART: Final = "word/document.xml"
MOST_PARTS: Final = 10_000
_PIECE_BYTES: Final = 64 * 1024
_WORD: Final = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_STRICT_WORD: Final = "http://purl.oclc.org/ooxml/wordprocessingml/main"
_FALLBACK: Final = "http://schemas.openxmlformats.org/markup-compatibility/2006 Fallback"
"""What older programs show instead: the same text once more."""
_BREAKS: Final = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_ENDS: Final = {"p": "\n\n", "tc": "\t", "tr": "\n"}
_ENDS_IN_CELL: Final = {**_ENDS, "p": " "}
_ENCRYPTED: Final = 0x1


class _Reader:
    """Collects the text of one XML part."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._in_text = 0
        self._in_fallback = 0
        self._in_cell = 0
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._refuse

    def _refuse(self, *_: object) -> None:
        raise DamagedDocument("The document's XML declares a document type, which no Word document does.")

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._in_fallback += name == _FALLBACK
        kind = _word_name(name)
        self._in_text += kind == "t"
        self._in_cell += kind == "tc"
        if kind in _BREAKS and not self._in_fallback:
            self.pieces.append(_BREAKS[kind])

    def _end(self, name: str) -> None:
        self._in_fallback -= name == _FALLBACK
        kind = _word_name(name)
        self._in_text -= kind == "t"
        ends = _ENDS_IN_CELL if self._in_cell else _ENDS
        if kind in ends and not self._in_fallback:
            self.pieces.append(ends[kind])
        self._in_cell -= kind == "tc"

    def _characters(self, data: str) -> None:
        if self._in_text and not self._in_fallback:
            self.pieces.append(data)


def _word_name(name: str) -> str:
    namespace, _, local = name.rpartition(" ")
    return local if namespace in (_WORD, _STRICT_WORD) else ""


def text_of_docx(data: bytes, most_bytes: int) -> str:
    """The document's text. Raises DamagedDocument, DocumentExpands, EncryptedDocument, UnsupportedDocument."""
    reader = _Reader()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, _main_part(archive, most_bytes) as part:
            read = 0
            while piece := part.read(_PIECE_BYTES):
                read += len(piece)
                if read > most_bytes:
                    raise DocumentExpands(f"Unpacked, the document is over the limit of {most_bytes} bytes.")
                reader.parser.Parse(piece, False)
            reader.parser.Parse(b"", True)
    except (zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DamagedDocument(f"The Word document cannot be read: {type(error).__name__}.") from error
    return "".join(reader.pieces)


def _main_part(archive: zipfile.ZipFile, most_bytes: int) -> zipfile.ZipExtFile:
    parts = {part.filename: part for part in archive.infolist()}
    if len(parts) > MOST_PARTS:
        raise DocumentExpands(f"The document has {len(parts)} parts; {MOST_PARTS} is the limit.")
    main = parts.get(MAIN_PART)
    if main is None:
        raise UnsupportedDocument("The file is a ZIP archive, and no Word document.")
    if main.flag_bits & _ENCRYPTED:
        raise EncryptedDocument("The Word document opens with a password only.")
    if main.file_size > most_bytes:
        told = f"Unpacked, the document has {main.file_size} bytes; {most_bytes} is the limit."
        raise DocumentExpands(told)
    return archive.open(main)  # type: ignore[return-value]
