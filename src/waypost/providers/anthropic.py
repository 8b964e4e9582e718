"""Anthropic's Messages API."""

from __future__ import annotations

from typing import Final

from waypost.codecs.anthropic_messages import codec
from waypost.codecs.anthropic_messages.count import count_codec
from waypost.providers.batch_api import BatchApi, Sender
from waypost.providers.hosted import HostedOptions, build
from waypost.providers.http_inquiry import Place, Places
from waypost.providers.http_provider import HttpProvider
from waypost.providers.vendors import ANTHROPIC

PLACES: Final = Places(count=lambda: Place("/v1/messages/count_tokens", count_codec))


def create(name: str, options: HostedOptions) -> HttpProvider:
    """The provider named `name`. Raises ConfigurationError."""
    return build(name, ANTHROPIC, codec, options, places=PLACES, batches=_batches)


def _batches(sender: Sender) -> BatchApi:
    from waypost.providers.anthropic_batches import AnthropicBatches

    return AnthropicBatches(sender)
