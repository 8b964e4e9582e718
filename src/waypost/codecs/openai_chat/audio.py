"""A spoken answer in a stream: its pieces are gathered and come out as one part.

Each piece is base64 of its own, so pieces are joined as bytes, never as text.
"""

from __future__ import annotations

import base64
import binascii

from waypost.chat import Json
from waypost.codecs.openai_chat.wire import WireAudio


class SpokenAnswer:
    """The audio of one choice."""

    __slots__ = ("_data", "_expires_at", "_id", "_transcript")

    def __init__(self) -> None:
        self._id: str | None = None
        self._expires_at: int | None = None
        self._data: list[str] = []
        self._transcript: list[str] = []

    def add(self, piece: WireAudio) -> None:
        """Take the next piece."""
        self._id = piece.id or self._id
        self._expires_at = self._expires_at if piece.expires_at is None else piece.expires_at
        if piece.data:
            self._data.append(piece.data)
        if piece.transcript:
            self._transcript.append(piece.transcript)

    def part(self) -> dict[str, Json]:
        """What was gathered, in the form that a whole answer has."""
        members: dict[str, Json] = {
            "id": self._id,
            "data": _join(self._data) or None,
            "expires_at": self._expires_at,
            "transcript": "".join(self._transcript) or None,
        }
        return {"type": "audio", "audio": {name: value for name, value in members.items() if value is not None}}


def _join(pieces: list[str]) -> str:
    try:
        return base64.b64encode(b"".join(base64.b64decode(piece, validate=True) for piece in pieces)).decode()
    except (binascii.Error, ValueError):
        return "".join(pieces)  # not base64 after all: handed on as it came
