"""The files that OpenAI's API keeps: uploads, and what batches have written. Bounded; the oldest go first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from waypost.chat import Json

MAX_FILES: Final = 1_000


@dataclass(frozen=True, slots=True)
class File:
    """One of them. Times are whole seconds since 1970."""

    id: str
    filename: str
    purpose: str
    content: bytes
    created_s: int
    expires_s: int | None = None

    def told(self) -> Json:
        """As the API tells it. Source: API reference, the file object."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_s,
            "expires_at": self.expires_s,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


class FileStore:
    """Files by their ids."""

    def __init__(self) -> None:
        self._kept: dict[str, File] = {}

    @property
    def all(self) -> Mapping[str, File]:
        """All that are kept, in the order they came."""
        return self._kept

    def keep(self, file: File) -> None:
        """Keep a file."""
        self._kept[file.id] = file
        if len(self._kept) > MAX_FILES:
            del self._kept[next(iter(self._kept))]

    def forget(self, file_id: str) -> None:
        """Delete a file."""
        del self._kept[file_id]
