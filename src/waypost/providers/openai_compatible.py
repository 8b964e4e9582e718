"""Any server that speaks OpenAI's chat format: vLLM, Ollama, OpenRouter, Groq and the like."""

from __future__ import annotations

from typing import Final

from waypost.codecs import openai_embeddings
from waypost.codecs.openai_chat import compatible_codec
from waypost.providers.hosted import HostedOptions, build
from waypost.providers.http_inquiry import Place, Places
from waypost.providers.http_provider import HttpProvider
from waypost.providers.vendors import OPENAI_COMPATIBLE

PLACES: Final = Places(embeddings=(Place("/embeddings", openai_embeddings.codec),))


def create(name: str, options: HostedOptions) -> HttpProvider:
    """The provider named `name`. Raises ConfigurationError."""
    return build(name, OPENAI_COMPATIBLE, compatible_codec, options, places=PLACES)
