"""The model's name in bodies that are passed on and are no conversations: embeddings and counts.

The invariant: every member that does not name the model keeps its bytes. Conversations are `passing`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

Members = dict[str, msgspec.Raw]
_MEMBERS: Final = msgspec.json.Decoder(Members)
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_GEMINI_PREFIX: Final = "models/"


def renamed(wire: str, body: bytes, model: str) -> bytes:
    """The body with the provider's own name of the model. `body` is a sound JSON object; unknown shapes pass as is."""
    try:
        return msgspec.json.encode(RENAMES[wire](_MEMBERS.decode(body), model))
    except msgspec.ValidationError:
        # The provider knows best what is wrong with it.
        return body


def _named(members: Members, model: str) -> Mapping[str, Any]:
    return {**members, "model": model}


def _gemini(members: Members, model: str) -> Mapping[str, Any]:
    """Google has the name in the URL, and wants the same one where the body repeats it."""
    return {**members, "model": _GEMINI_PREFIX + model} if "model" in members else members


def _gemini_batch(members: Members, model: str) -> Mapping[str, Any]:
    if "requests" not in members:
        return members
    requests = [_gemini(_MEMBERS.decode(each), model) for each in _LIST.decode(members["requests"])]
    return {**members, "requests": requests}


def _gemini_count(members: Members, model: str) -> Mapping[str, Any]:
    whole = [name for name in ("generateContentRequest", "generate_content_request") if name in members]
    return {**members, **{name: _gemini(_MEMBERS.decode(members[name]), model) for name in whole}}


RENAMES: Final[Mapping[str, Callable[[Members, str], Mapping[str, Any]]]] = {
    "openai_embeddings": _named,
    "openai_input_tokens": _named,
    "anthropic_count_tokens": _named,
    "gemini_embed_content": _gemini,
    "gemini_batch_embed_contents": _gemini_batch,
    "gemini_count_tokens": _gemini_count,
}
"""By the codec's name; every codec of embeddings and counts is here."""
