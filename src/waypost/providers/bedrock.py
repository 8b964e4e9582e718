"""Amazon Bedrock by its API keys, at the addresses where it speaks Anthropic's and OpenAI's formats.

Not here: signed requests (SigV4), and Bedrock's own InvokeModel and Converse formats: docs/adr/0007-signing.md says
why.
Source: AWS's "Amazon Bedrock User Guide, Endpoints supported by Amazon Bedrock".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Final, Literal

from waypost.providers.hosted import HostedOptions, build
from waypost.providers.http_provider import HttpProvider
from waypost.providers.vendors import BEDROCK, BEDROCK_CHAT, BEDROCK_RESPONSES, Vendor

_WIRES: Final[Mapping[str, tuple[Vendor, str]]] = {
    "anthropic": (BEDROCK, "waypost.codecs.anthropic_messages"),
    "chat": (BEDROCK_CHAT, "waypost.codecs.openai_chat"),
    "responses": (BEDROCK_RESPONSES, "waypost.providers.stateless_responses"),
}
"""The format's name -> the table row, and the module of its codec."""


def create(
    name: str, options: HostedOptions, region: str, wire: Literal["anthropic", "chat", "responses"] = "anthropic"
) -> HttpProvider:
    """The provider named `name`. Raises ConfigurationError."""
    vendor, module = _WIRES[wire]
    base_url = options.base_url or f"https://bedrock-runtime.{region}.amazonaws.com"
    return build(name, vendor, import_module(module).codec, replace(options, base_url=base_url))
