"""OpenAI's Responses API, asked by a gateway that leans on nothing stored there: the model's thoughts come along.

A model that reasons wants its thoughts back with the results of the tools it called. They are told, encrypted, only to
those who ask, and only by models that are to reason or are known to: others refuse the wish. Nothing is left for the
provider to store, unless the caller or the route says so. Thoughts that are not encrypted are nothing that it knows.
Source: OpenAI's API reference, `include` and `store` of "Create a model response".
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from waypost.catalogue import capabilities_of
from waypost.chat import Json, Message, Part, Reasoning, Request
from waypost.codecs.codec import Encoded
from waypost.codecs.openai_responses import OpenAIResponsesCodec
from waypost.codecs.openai_responses.continuing import seals
from waypost.codecs.openai_responses.retelling import SEAL
from waypost.codecs.openai_responses.wire import FAMILY, ITEM, OWN
from waypost.providers.asked import Written

ENCRYPTED: Final = "reasoning.encrypted_content"
STORE: Final = "store"
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class StatelessResponsesCodec(OpenAIResponsesCodec):
    """The codec, for providers: what goes out asks for encrypted thoughts, and to store nothing."""

    def encode_request(self, request: Request, *, stream: bool) -> Encoded:
        """The body for a provider."""
        return super().encode_request(_unstored(with_thoughts(request)), stream=stream)


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


def _unstored(request: Request) -> Request:
    """The request that says what nearly every other format means by saying nothing."""
    if STORE in request.provider_options.get(FAMILY, {}):
        return request
    own = {**request.provider_options.get(OWN, {}), STORE: False}
    messages = tuple(_without_unknown_thoughts(message) for message in request.messages)
    return replace(request, messages=messages, provider_options={**request.provider_options, OWN: own})


def _without_unknown_thoughts(message: Message) -> Message:
    """A provider that has not stored a thought looks for it in vain, and refuses the request."""
    thoughts = [part.opaque.get(OWN, {}) for part in message.parts if isinstance(part, Reasoning)]
    # The pieces of one item have its id, and the last one what is encrypted.
    sealed = {own.get("id") for own in thoughts if (own.get(ITEM) or {}).get(SEAL)}
    unknown = {own["id"] for own in thoughts if "id" in own} - sealed
    if not unknown:
        return message
    parts = tuple(part for part in message.parts if not _is_one_of(part, unknown))
    return replace(message, parts=parts)


def _is_one_of(part: Part, item_ids: AbstractSet[str]) -> bool:
    return isinstance(part, Reasoning) and part.opaque.get(OWN, {}).get("id") in item_ids


@dataclass(frozen=True, slots=True)
class StoredHere(Written):
    """A request whose answer is stored by whoever asks. `body` is the whole conversation, and says nothing of storing.

    `sealed_by` tells whose encrypted thoughts are in it, by their items' ids: another provider could not read them.
    `stored_there` is what the provider is told about storing.
    """

    sealed_by: Mapping[str, str] = field(default_factory=dict)
    stored_there: bool = False

    def body_for(self, model: str, provider: str = "") -> bytes:
        """The body for that provider."""
        members: dict[str, Any] = {**_MEMBERS.decode(self.body), "model": model, STORE: self.stored_there}
        if _thinks(self.seen.members, model):
            included = [name for name in self.seen.members.get("include") or () if name != ENCRYPTED]
            members["include"] = [*included, ENCRYPTED]
        if any(sealer != provider for sealer in self.sealed_by.values()):
            members["input"] = [item for item in self.seen.members["input"] if not self._is_foreign(item, provider)]
        return msgspec.json.encode(members)

    def _is_foreign(self, item: Json, provider: str) -> bool:
        return any(self.sealed_by.get(item_id, provider) != provider for item_id in seals([item]))


def _thinks(members: Mapping[str, Json], model: str) -> bool:
    wish = members.get("reasoning")
    effort = wish.get("effort") if isinstance(wish, Mapping) else None
    if effort is None:
        return capabilities_of("openai", model).reasoning is True
    return bool(effort != "none")


codec: Final = StatelessResponsesCodec()
