"""OpenAI, by its Chat Completions or its Responses API."""

from __future__ import annotations

from functools import partial
from typing import Final, Literal

from waypost.codecs import openai_embeddings
from waypost.codecs.codec import CountCodec
from waypost.providers.batch_api import BatchApi, Sender
from waypost.providers.hosted import HostedOptions, build
from waypost.providers.http_inquiry import Place, Places
from waypost.providers.http_provider import HttpProvider
from waypost.providers.vendors import OPENAI, OPENAI_RESPONSES


def _count() -> Place[CountCodec]:
    from waypost.codecs.openai_responses.count import count_codec

    return Place("/responses/input_tokens", count_codec, missing_model="model_not_found")


PLACES: Final = Places(embeddings=(Place("/embeddings", openai_embeddings.codec),), count=_count)


def create(name: str, options: HostedOptions, wire: Literal["chat", "responses"] = "chat") -> HttpProvider:
    """The provider named `name`. Raises ConfigurationError."""
    if wire == "responses":
        from waypost.providers import stateless_responses

        batches = partial(_batches, path=OPENAI_RESPONSES.path)
        return build(name, OPENAI_RESPONSES, stateless_responses.codec, options, places=PLACES, batches=batches)
    from waypost.codecs import openai_chat

    batches = partial(_batches, path=OPENAI.path)
    return build(name, OPENAI, openai_chat.codec, options, places=PLACES, batches=batches)


def _batches(sender: Sender, path: str) -> BatchApi:
    from waypost.providers.openai_batches import OpenAIBatches

    # A batch names the path with its version, whatever the account's address is.
    return OpenAIBatches(sender, f"/v1{path}")
