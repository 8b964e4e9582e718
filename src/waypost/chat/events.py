"""The events of a streamed answer. Their lawful order is the table in `grammar`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from waypost.chat.parts import Citation, Json, Opaque, Part
from waypost.chat.response import FinishReason
from waypost.chat.usage import Usage
from waypost.errors import ProviderError


@dataclass(frozen=True, slots=True)
class ResponseStart:
    """The provider has begun. First event of every stream. `notes` as in Response."""

    id: str
    model: str
    created: int | None = None
    provider_fields: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartStart:
    """Part `index` of choice `choice` begins. `part` holds what is known so far; its text is most often empty.

    A part that comes whole (Media, ServerTool, Unknown, ToolResult) is complete in `part`.
    """

    index: int
    part: Part
    choice: int = 0


@dataclass(frozen=True, slots=True)
class PartDelta:
    """Appends `text` to the part's string: text, reasoning, refusal, or a tool call's arguments."""

    index: int
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class CitationDelta:
    """Appends one citation to a Text part."""

    index: int
    citation: Citation
    choice: int = 0


@dataclass(frozen=True, slots=True)
class LogprobsDelta:
    """Log-probabilities of a choice's tokens; each list in `data` is appended to what came before."""

    data: Mapping[str, Json]
    choice: int = 0


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is complete. `opaque` is merged into the part's own, family by family (signatures come so)."""

    index: int
    choice: int = 0
    opaque: Opaque = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsageUpdate:
    """Counts so far, cumulative: the later replaces the earlier, field by field (`Usage.merge`)."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Finish:
    """The provider finished this choice. Comes after every part, once for each choice, and last of all.

    `provider_fields` holds top-level fields of the answer that a stream tells only at its end; they join those of
    ResponseStart.
    """

    reason: FinishReason
    raw_reason: str | None = None
    stop_sequence: str | None = None
    choice: int = 0
    provider_fields: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The stream broke: nothing follows. A decoder reports what the provider said in-band, or what was malformed."""

    error: ProviderError


Event: TypeAlias = (
    ResponseStart | PartStart | PartDelta | CitationDelta | LogprobsDelta | PartEnd | UsageUpdate | Finish | Failed
)


def is_token(event: Event) -> bool:
    """Is it content of any kind? From here on the caller has seen something."""
    match event:
        case PartDelta():
            return bool(event.text)
        case PartStart():
            return bool(getattr(event.part, "text", True))
        case CitationDelta():
            return True
        case _:
            return False
