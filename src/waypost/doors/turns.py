"""Turns of a stored conversation as values: what was asked and answered, and whose encrypted thoughts are in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from waypost.chat import Json
from waypost.codecs.openai_responses.continuing import again, by_id, seals
from waypost.ledger.stored_responses import StoredResponse


class KeptRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is stored of a turn's request. `provider` answered it."""

    input: list[Any]
    provider: str = ""
    sealed: bool = False
    """Did the caller ask for encrypted reasoning?"""
    sealed_by: dict[str, str] = {}
    """Whose encrypted reasoning is in the input, by items."""
    streamed: bool = False
    signatures: str | None = None
    """What the signature store knows of the answer's calls."""

    def encode(self) -> str:
        """As it is stored."""
        return msgspec.json.encode(self).decode()


_REQUEST = msgspec.json.Decoder(KeptRequest)


@dataclass(frozen=True, slots=True)
class Turn:
    """One stored answer, read."""

    request: KeptRequest
    response: Mapping[str, Json]

    @classmethod
    def of(cls, stored: StoredResponse) -> Turn:
        """Read it."""
        return cls(_REQUEST.decode(stored.request), msgspec.json.decode(stored.response))

    @property
    def output(self) -> Sequence[Json]:
        """The items of the answer."""
        return self.response.get("output") or ()

    @property
    def said(self) -> list[Json]:
        """All of the turn, as input of another."""
        return again([*self.request.input, *self.output])

    @property
    def items(self) -> dict[str, Json]:
        """All items, by their ids."""
        return {**by_id(self.request.input), **by_id(self.output)}

    @property
    def sealed_by(self) -> dict[str, str]:
        """Whose encrypted reasoning is in it, by items."""
        return {**self.request.sealed_by, **dict.fromkeys(seals(self.output), self.request.provider)}


def call_ids(output: Sequence[Json]) -> Iterator[str]:
    """The ids of the calls of tools among these items."""
    for item in output:
        if isinstance(item, dict) and isinstance(call_id := item.get("call_id"), str):
            yield call_id
