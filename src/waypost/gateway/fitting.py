"""What is done when a request needs what a target is known to lack: refused, told, or sent without it.

The common request is plain text that every model takes: it is told apart by a look at its top level, so that it need
not be decoded for this. The invariant: what is unknown of a target changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from waypost.catalogue import Capabilities, Lack, lacking, needs_of, refusal, without
from waypost.chat import Json
from waypost.errors import UnsupportedFeature
from waypost.gateway.candidate import Candidate
from waypost.providers.asked import Asked
from waypost.providers.provider import Provider

PLAIN_MEMBERS: Final = frozenset({"model", "messages", "stream", "stream_options", "user", "metadata", "system"})
LENGTH_MEMBERS: Final = frozenset({"max_tokens", "max_completion_tokens"})
PLAIN_BYTES: Final = 8 * 1024
"""A shorter prompt fits into every window."""
PLAIN_LENGTH: Final = 4096
"""No known model's longest answer is shorter."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The candidates that may be asked, with what the caller should know, and what is asked of those that differ."""

    candidates: Sequence[Candidate[Provider]]
    requests: Mapping[tuple[str, str | None], Asked] = field(default_factory=dict)


def fit(
    asked: Asked,
    candidates: Sequence[Candidate[Provider]],
    capabilities_of: Callable[[Candidate[Provider]], Capabilities],
    unsupported: Literal["reject", "warn", "drop"],
) -> Fitted:
    """Raises UnsupportedFeature if the route refuses such requests and every target lacks something."""
    if is_plain(asked) or all(capabilities_of(candidate) == Capabilities() for candidate in candidates):
        return Fitted(candidates)
    needs = needs_of(asked.request, stream=asked.stream)
    fitted: list[Candidate[Provider]] = []
    requests: dict[tuple[str, str | None], Asked] = {}
    refused: UnsupportedFeature | None = None
    for candidate in candidates:
        lacks = lacking(needs, capabilities_of(candidate), _name(candidate))
        if not lacks:
            fitted.append(candidate)
        elif unsupported == "reject":
            refused = refused or refusal(lacks)
        else:
            dropped = unsupported == "drop"
            fitted.append(replace(candidate, note=_note(lacks, dropped=dropped)))
            if dropped:
                requests[candidate.target] = Asked.of(without(asked.request, lacks), stream=asked.stream)
    if refused is not None and not fitted:
        raise refused
    return Fitted(fitted, requests)


def is_plain(asked: Asked) -> bool:
    """Is it plainly nothing but short text in a conversation that ends with the user's turn?"""
    if asked.written is None or asked.size_bytes > PLAIN_BYTES:
        return False
    members = asked.written.seen.members
    for name, value in members.items():
        if name in LENGTH_MEMBERS:
            if type(value) is int and value > PLAIN_LENGTH:
                return False
        elif name not in PLAIN_MEMBERS:
            return False
    turns = members.get("messages")
    return type(turns) is list and all(map(_is_text, turns)) and turns[-1].get("role") == "user"


def _is_text(turn: Json) -> bool:
    return type(turn) is dict and type(turn.get("content")) is str and len(turn) == 2


def _name(candidate: Candidate[Provider]) -> str:
    return f"{candidate.name}/{candidate.model}" if candidate.model else candidate.name


def _note(lacks: Sequence[Lack], *, dropped: bool) -> str:
    told = (
        f"{lack.message.removesuffix('.')}: {lack.without}"
        if dropped and lack.without
        else lack.message.removesuffix(".")
        for lack in lacks
    )
    return "; ".join(told)
