"""Which of a provider's paths cost what: those that generate and say how much, those that cost nothing, and all others.

A path is known by its end, since a format's paths end alike wherever a vendor puts them. What is in no table is not
known, and never taken as free.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote

from waypost.codecs import anthropic_messages, gemini, openai_chat, openai_embeddings, openai_responses
from waypost.codecs.codec import Codec, EmbeddingCodec
from waypost.codecs.gemini import embeddings as gemini_embeddings
from waypost.codecs.metering import ConversationMeter, CountMeter, JsonMeter, Meter, NoMeter
from waypost.codecs.reply_usage import ANTHROPIC, CHAT, GEMINI, MEDIA, RESPONSES, UsageReader

Kind: TypeAlias = Literal["conversation", "completion", "embedding", "media", "free"]

COSTLY: Final = frozenset({"POST", "PUT", "PATCH"})
"""What a provider may charge for; to look at something, or to delete it, costs nothing."""
_ANYWHERE: Final = r"(?:.*?/)??"
_DEPLOYMENT: Final = r"(?:deployments/(?P<model>[^/]+)/)?"
"""Where Azure's dated interface names the model."""
_GOOGLE_MODEL: Final = r"models/(?P<model>[^/]+):"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One kind of call: its path, and how it says what it took. `codec` is that of a conversation or of embeddings."""

    kind: Kind
    path: re.Pattern[str]
    reader: UsageReader = CHAT
    codec: Codec | None = None
    embedding_codec: EmbeddingCodec | None = None

    @property
    def is_estimable(self) -> bool:
        """Can tokens that were not counted be told from the length of what went and came?"""
        return self.kind != "media"

    def meter(self, content_type: str, choices: int) -> Meter:
        """For a reply of this type to a request for so many choices."""
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type == "text/event-stream":
            return CountMeter(self.reader) if self.codec is None else ConversationMeter(self.codec, choices)
        return JsonMeter(self.reader) if media_type.endswith("json") else NoMeter()


@dataclass(frozen=True, slots=True)
class Place:
    """The endpoint that a path leads to, and what the path says. `model` None: it does not say it."""

    endpoint: Endpoint
    path: str
    model: str | None = None
    stream: bool = False


def _at(path: str) -> re.Pattern[str]:
    return re.compile(_ANYWHERE + path)


ENDPOINTS: Final = (
    Endpoint("conversation", _at(_DEPLOYMENT + "chat/completions"), CHAT, openai_chat.codec),
    Endpoint("conversation", _at("responses(?:/compact)?"), RESPONSES, openai_responses.codec),
    Endpoint("conversation", _at("v1/messages"), ANTHROPIC, anthropic_messages.codec),
    Endpoint("conversation", _at(_GOOGLE_MODEL + "(?:generateContent|streamGenerateContent)"), GEMINI, gemini.codec),
    Endpoint("completion", _at(_DEPLOYMENT + "completions")),
    Endpoint("embedding", _at(_DEPLOYMENT + "embeddings"), embedding_codec=openai_embeddings.codec),
    Endpoint("embedding", _at(_GOOGLE_MODEL + "embedContent"), GEMINI, embedding_codec=gemini_embeddings.one),
    Endpoint("embedding", _at(_GOOGLE_MODEL + "batchEmbedContents"), GEMINI, embedding_codec=gemini_embeddings.batch),
    Endpoint("media", _at(_DEPLOYMENT + "images/(?:generations|edits|variations)"), MEDIA),
    Endpoint("media", _at(_DEPLOYMENT + "audio/(?:transcriptions|translations|speech)"), MEDIA),
)
"""What is charged by tokens that the reply tells; the first that fits counts."""

_FREE_ANYWHERE: Final = (
    "v1/messages/count_tokens",
    "responses/input_tokens",
    _GOOGLE_MODEL + "countTokens",
    "(?:responses|batches)/[^/]+/cancel",
)
_FREE_OF_KIND: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("moderations", "files", "uploads(?:/.+)?", "conversations(?:/.+)?"),
    "azure_openai": ("files", "uploads(?:/.+)?"),
    "anthropic": ("v1/files",),
    "gemini": ("files(?:/.+)?",),
}
"""What the vendor itself takes nothing for. Source: OpenAI's, Anthropic's and Google's pages of prices."""


def _free(path: str) -> Endpoint:
    return Endpoint("free", re.compile(path))


_FREE: Final = {kind: tuple(map(_free, paths)) for kind, paths in _FREE_OF_KIND.items()}
_COUNTS: Final = tuple(_free(_ANYWHERE + path) for path in _FREE_ANYWHERE)
_LOOKED_AT: Final = _free(".*")


def place_of(kind: str, method: str, path: str) -> Place | None:
    """Where a call leads; None: nobody knows what it costs. `kind` is the provider's, `path` as the caller wrote it."""
    plain = unquote(path).strip("/")
    if method not in COSTLY:
        return Place(_LOOKED_AT, plain)
    if method != "POST":
        return None
    for endpoint in (*_COUNTS, *_FREE.get(kind, ()), *ENDPOINTS):
        found = endpoint.path.fullmatch(plain)
        if found is not None:
            model = found.groupdict().get("model")
            return Place(endpoint, plain, model, plain.endswith(":streamGenerateContent"))
    return None
