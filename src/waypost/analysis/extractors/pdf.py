"""The text of a PDF, page by page. Nothing is drawn, run or fetched; a page without text gives none."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from waypost.errors import DamagedDocument, DocumentExpands, EncryptedDocument

if TYPE_CHECKING:
    from pypdf import PdfReader


def pages_of_pdf(data: bytes, most_pages: int, most_characters: int) -> list[str]:
    """The pages' texts. Raises EncryptedDocument, DamagedDocument, DocumentExpands."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError, PyPdfError

    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        _open(reader)
        return _pages(reader, most_pages, most_characters)
    except (DependencyError, FileNotDecryptedError) as error:
        raise EncryptedDocument("The PDF opens with a password only.") from error
    except LimitReachedError as error:
        raise DocumentExpands("What is packed in the PDF is over the limit.") from error
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, OSError) as error:
        # pypdf meets a broken file with whatever error its reader happens to raise.
        raise DamagedDocument(f"The PDF cannot be read: {type(error).__name__}.") from error


def _open(reader: PdfReader) -> None:
    """Many a PDF is encrypted with the empty password, only to forbid printing."""
    if reader.is_encrypted and not reader.decrypt(""):
        raise EncryptedDocument("The PDF opens with a password only.")


def _pages(reader: PdfReader, most_pages: int, most_characters: int) -> list[str]:
    number = len(reader.pages)
    if number > most_pages:
        raise DocumentExpands(f"The PDF has {number} pages; {most_pages} is the limit.")
    texts: list[str] = []
    characters = 0
    for page in reader.pages:
        texts.append(page.extract_text())
        characters += len(texts[-1])
        if characters > most_characters:
            raise DocumentExpands(f"The PDF's text is over the limit of {most_characters} characters.")
    return texts
