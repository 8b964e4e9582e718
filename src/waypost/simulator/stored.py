"""The answers that OpenAI's Responses API keeps. Bounded; the oldest go first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from waypost.chat import Message

MAX_STORED: Final = 1_000


@dataclass(frozen=True, slots=True)
class Stored:
    """One answer: its body, and the conversation up to and with it, without instructions, which are each call's own."""

    body: bytes
    messages: tuple[Message, ...]


class ResponseStore:
    """Answers by their ids."""

    def __init__(self) -> None:
        self._kept: dict[str, Stored] = {}

    def keep(self, response_id: str, stored: Stored) -> None:
        """Keep an answer."""
        self._kept[response_id] = stored
        if len(self._kept) > MAX_STORED:
            del self._kept[next(iter(self._kept))]

    def find(self, response_id: str) -> Stored | None:
        """The answer, None if it is not kept."""
        return self._kept.get(response_id)

    def knows_item(self, item_id: str) -> bool:
        """Is it one of the answers' items?"""
        needle = item_id.encode()
        return any(needle in stored.body for stored in self._kept.values())

    def forget(self, response_id: str) -> bool:
        """Delete the answer. Was it kept?"""
        return self._kept.pop(response_id, None) is not None
