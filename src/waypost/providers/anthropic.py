"""Anthropic's Messages API."""

from __future__ import annotations

from waypost.codecs.anthropic_messages import codec
from waypost.providers.hosted import HostedOptions, build
from waypost.providers.http_provider import HttpProvider
from waypost.providers.vendors import ANTHROPIC


def create(name: str, options: HostedOptions) -> HttpProvider:
    """The provider named `name`. Raises ConfigurationError."""
    return build(name, ANTHROPIC, codec, options)
