"""OpenAI, by its Chat Completions or its Responses API."""

from __future__ import annotations

from typing import Literal

from waypost.providers.hosted import HostedOptions, build
from waypost.providers.http_provider import HttpProvider
from waypost.providers.vendors import OPENAI, OPENAI_RESPONSES


def create(name: str, options: HostedOptions, wire: Literal["chat", "responses"] = "chat") -> HttpProvider:
    """The provider named `name`. Raises ConfigurationError."""
    if wire == "responses":
        from waypost.codecs import openai_responses

        return build(name, OPENAI_RESPONSES, openai_responses.codec, options)
    from waypost.codecs import openai_chat

    return build(name, OPENAI, openai_chat.codec, options)
