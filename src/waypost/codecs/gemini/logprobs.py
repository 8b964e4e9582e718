"""Log-probabilities, both ways: Google's `logprobsResult`, and the list of tokens that the canonical model has.

`token_id`, which only Google gives, stays beside the token. The invariant: both lists of Google's are as long as the
answer, or the second is absent; what else the object holds is not carried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from waypost.chat import Json
from waypost.codecs.gemini.wire import Members, repeated

_NAMES: Final = {"token": "token", "logProbability": "logprob", "tokenId": "token_id"}
_WIRE_NAMES: Final = {name: wire for wire, name in _NAMES.items()}


def decode_logprobs(result: Members, path: str) -> Members | None:
    """The canonical form, None if there is no token. Raises WireError."""
    chosen = [_renamed(token, _NAMES) for token in repeated(result, "chosenCandidates", path)]
    top = repeated(result, "topCandidates", path)
    for index, (token, others) in enumerate(zip(chosen, top, strict=False)):
        inner = repeated(others, "candidates", f"{path}.topCandidates.{index}")
        token["top_logprobs"] = [_renamed(other, _NAMES) for other in inner]
    return {"content": chosen} if chosen else None


def encode_logprobs(logprobs: Mapping[str, Json]) -> Members | None:
    """The wire's form, None if there is none for what is given."""
    tokens = _objects(logprobs.get("content"))
    if not tokens:
        return None
    wire: Members = {"chosenCandidates": [_renamed(token, _WIRE_NAMES) for token in tokens]}
    top = [[_renamed(other, _WIRE_NAMES) for other in _objects(token.get("top_logprobs"))] for token in tokens]
    return {**wire, **({"topCandidates": [{"candidates": others} for others in top]} if any(top) else {})}


def _objects(value: Json) -> list[Members]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _renamed(token: Members, names: Mapping[str, str]) -> Members:
    return {names[name]: value for name, value in token.items() if name in names and value is not None}
