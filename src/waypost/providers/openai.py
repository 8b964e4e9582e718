"""OpenAI's Chat Completions API."""

from __future__ import annotations

from waypost.codecs.openai_chat import codec
from waypost.providers.hosted import HostedOptions, build
from waypost.providers.http_provider import HttpProvider
from waypost.providers.vendors import OPENAI


def create(name: str, options: HostedOptions) -> HttpProvider:
    """The provider named `name`. Raises ConfigurationError."""
    return build(name, OPENAI, codec, options)
