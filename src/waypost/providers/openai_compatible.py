"""Any server that speaks OpenAI's chat format: vLLM, Ollama, OpenRouter, Groq and the like."""

from __future__ import annotations

from waypost.codecs.openai_chat import compatible_codec
from waypost.providers.hosted import HostedOptions, build
from waypost.providers.http_provider import HttpProvider
from waypost.providers.vendors import OPENAI_COMPATIBLE


def create(name: str, options: HostedOptions) -> HttpProvider:
    """The provider named `name`. Raises ConfigurationError."""
    return build(name, OPENAI_COMPATIBLE, compatible_codec, options)
