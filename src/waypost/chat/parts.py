"""What a message is made of. Frozen values in a closed union; a wire format's own forms stay in its codec.

`opaque` carries what only one provider understands (signatures, item ids, cache marks), by wire family:
`{"anthropic": {"signature": "…"}}`. It is handed back to that family and read by nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Opaque: TypeAlias = Mapping[str, Mapping[str, Any]]
Json: TypeAlias = Any
"""A decoded JSON value."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A source for a span of text, as the provider wrote it. `data` is its JSON object."""

    wire: str
    data: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text."""

    text: str
    citations: tuple[Citation, ...] = ()
    opaque: Opaque = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The model's thinking. Empty text with `opaque` set is thinking the provider encrypted or left out."""

    text: str
    opaque: Opaque = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model's own words for declining."""

    text: str
    opaque: Opaque = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool. `arguments` is kept as written: JSON text, or plain text for kind "custom"."""

    call_id: str
    name: str
    arguments: str
    kind: Literal["function", "custom"] = "function"
    opaque: Opaque = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerTool:
    """A call of the provider's own tool, or its result, as the provider wrote it."""

    wire: str
    data: Mapping[str, Json]
    opaque: Opaque = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InlineData:
    """Bytes carried in the request."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Url:
    """An address for the provider to fetch; Waypost never does."""

    url: str


@dataclass(frozen=True, slots=True)
class FileId:
    """A file that was uploaded to the provider before."""

    file_id: str


MediaSource: TypeAlias = InlineData | Url | FileId


@dataclass(frozen=True, slots=True)
class Media:
    """An image, a sound or a document. `detail` is OpenAI's wish for an image's resolution."""

    kind: Literal["image", "audio", "document"]
    source: MediaSource
    name: str | None = None
    detail: str | None = None
    opaque: Opaque = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A part this version does not know. It goes back unchanged to the wire format it came from."""

    wire: str
    data: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back. `name` is known where the wire format says it (Gemini does)."""

    call_id: str
    parts: tuple[Text | Media | Unknown, ...]
    name: str | None = None
    is_error: bool = False
    opaque: Opaque = field(default_factory=dict)


Part: TypeAlias = Text | Reasoning | Refusal | ToolCall | ToolResult | ServerTool | Media | Unknown
