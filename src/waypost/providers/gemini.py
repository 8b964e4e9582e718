"""Google's Gemini API (the Generative Language API)."""

from __future__ import annotations

from typing import Final

from waypost.codecs.gemini import codec, embeddings
from waypost.codecs.gemini.count import count_codec
from waypost.providers.hosted import HostedOptions, build
from waypost.providers.http_inquiry import Place, Places
from waypost.providers.http_provider import HttpProvider
from waypost.providers.vendors import GEMINI

PLACES: Final = Places(
    embeddings=(
        Place("/models/{model}:batchEmbedContents", embeddings.batch),
        Place("/models/{model}:embedContent", embeddings.one),
    ),
    count=lambda: Place("/models/{model}:countTokens", count_codec),
)


def create(name: str, options: HostedOptions) -> HttpProvider:
    """The provider named `name`. Raises ConfigurationError."""
    return build(name, GEMINI, codec, options, places=PLACES)
