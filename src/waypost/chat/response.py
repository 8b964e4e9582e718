"""A whole answer in canonical form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from waypost.chat.parts import Json, Part, Text
from waypost.chat.usage import Usage

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "pause", "other"]
"""pause: the provider wants the conversation sent back to go on (Anthropic's pause_turn)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer. `raw_reason` is the provider's own word; `stop_sequence` the one that was hit."""

    index: int
    parts: tuple[Part, ...]
    reason: FinishReason
    raw_reason: str | None = None
    stop_sequence: str | None = None
    logprobs: Mapping[str, Json] | None = None

    @property
    def text(self) -> str:
        """All Text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Response:
    """What a model answered. `created` is in Unix seconds, None where the wire format has no such field."""

    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: Usage = field(default_factory=Usage)
    created: int | None = None
    provider_fields: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """Top-level fields only one wire family knows, by family: `{"openai": {"system_fingerprint": "…"}}`."""
    notes: tuple[str, ...] = ()
    """What whoever asked should know, such as what of the request the provider's wire format could not carry."""

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].text if self.choices else ""
