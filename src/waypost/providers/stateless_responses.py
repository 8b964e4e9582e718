"""OpenAI's Responses API, asked by a gateway that leans on nothing stored there: the model's thoughts come along.

A model that reasons wants its thoughts back with the results of the tools it called. They are told, encrypted, only to
those who ask. The invariant: only requests with tools, to models that are to reason or are known to, are changed.
Source: OpenAI's API reference, `include` of "Create a model response"; models that do not reason refuse the wish.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from waypost.catalogue import capabilities_of
from waypost.chat import Request
from waypost.codecs.codec import Encoded
from waypost.codecs.openai_responses import OpenAIResponsesCodec
from waypost.codecs.openai_responses.wire import OWN

ENCRYPTED: Final = "reasoning.encrypted_content"


class StatelessResponsesCodec(OpenAIResponsesCodec):
    """The codec, for providers: what goes out asks for encrypted thoughts."""

    def encode_request(self, request: Request, *, stream: bool) -> Encoded:
        """The body for a provider."""
        return super().encode_request(with_thoughts(request), stream=stream)


def with_thoughts(request: Request) -> Request:
    """The request that asks for encrypted thoughts, if there may be any that are wanted again."""
    if not request.tools or not _is_to_think(request):
        return request
    own: dict[str, Any] = dict(request.provider_options.get(OWN, {}))
    included = own.get("include") or ()
    if ENCRYPTED in included:
        return request
    own["include"] = [*included, ENCRYPTED]
    return replace(request, provider_options={**request.provider_options, OWN: own})


def _is_to_think(request: Request) -> bool:
    wish = request.reasoning
    if wish is None:
        return capabilities_of("openai", request.model).reasoning is True
    return wish.enabled is not False and wish.effort != "none" and wish.budget_tokens != 0


codec: Final = StatelessResponsesCodec()
