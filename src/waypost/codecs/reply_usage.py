"""Token counts and model of a whole reply, from a few of its top-level members: for replies that are passed through.

Each reader takes the members it names and gives what they say; what does not fit its format says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from waypost.chat import Json, Usage
from waypost.codecs.anthropic_messages.usage import decode_usage as anthropic_usage
from waypost.codecs.gemini.usage import decode_usage as gemini_usage
from waypost.codecs.openai_chat.fields import Fields
from waypost.codecs.openai_chat.wire import WireUsage
from waypost.codecs.openai_chat.wire import decode_usage as chat_usage
from waypost.codecs.openai_responses.response import decode_usage as responses_usage
from waypost.codecs.reading import WireError
from waypost.errors import InvalidRequest

Members = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class UsageReader:
    """How one format says what an answer took. `usage` and `model` are the members that hold it."""

    usage: str
    model: str
    decode: Callable[[Members], Usage]
    beside: tuple[str, ...] = ()
    """Other members that `decode` wants."""

    @property
    def members(self) -> frozenset[str]:
        """All that is read."""
        return frozenset({self.usage, self.model, *self.beside})

    def usage_of(self, members: Members) -> Usage:
        """The counts; none of what does not fit the format."""
        if not isinstance(members.get(self.usage), dict):
            return Usage()
        try:
            return self.decode(members)
        except (WireError, InvalidRequest, msgspec.ValidationError):
            return Usage()

    def model_of(self, members: Members) -> str:
        """The model that answered; empty if that is not told."""
        model = members.get(self.model)
        return model if isinstance(model, str) else ""


class _Details(msgspec.Struct, gc=False):
    audio_tokens: int | None = None


class _MediaUsage(msgspec.Struct, gc=False):
    """Of pictures, transcripts and speech; sounds have `input_token_details`, pictures `input_tokens_details`."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _Details | None = None


def _chat(members: Members) -> Usage:
    tier = members.get("service_tier")
    usage = msgspec.convert(members["usage"], WireUsage)
    return chat_usage(usage, tier if isinstance(tier, str) else None)


def _media(members: Members) -> Usage:
    usage = msgspec.convert(members["usage"], _MediaUsage)
    details = usage.input_token_details or _Details()
    return Usage(usage.input_tokens, input_audio_tokens=details.audio_tokens, output_tokens=usage.output_tokens)


def _object(members: Members, name: str) -> Mapping[str, Json]:
    value = members[name]
    return value if isinstance(value, Mapping) else {}


CHAT: Final = UsageReader("usage", "model", _chat, ("service_tier",))
RESPONSES: Final = UsageReader(
    "usage", "model", lambda members: responses_usage(Fields(dict(members))), ("service_tier",)
)
ANTHROPIC: Final = UsageReader("usage", "model", lambda members: anthropic_usage(_object(members, "usage"), "usage"))
GEMINI: Final = UsageReader(
    "usageMetadata", "modelVersion", lambda members: gemini_usage(_object(members, "usageMetadata"), "usageMetadata")
)
MEDIA: Final = UsageReader("usage", "model", _media)
"""Source: OpenAI's API reference, `usage` of images, transcriptions and speech."""
