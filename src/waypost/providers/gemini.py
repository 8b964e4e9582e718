"""Google's Gemini API (the Generative Language API)."""

from __future__ import annotations

from waypost.codecs.gemini import codec
from waypost.providers.hosted import HostedOptions, build
from waypost.providers.http_provider import HttpProvider
from waypost.providers.vendors import GEMINI


def create(name: str, options: HostedOptions) -> HttpProvider:
    """The provider named `name`. Raises ConfigurationError."""
    return build(name, GEMINI, codec, options)
