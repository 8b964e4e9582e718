"""What is done when a request needs what a target is known to lack: refused, told, or sent without it.

Most requests ask for nothing that any of their targets lacks, which their top level shows: those need not be decoded
for this. The invariant: what is unknown of a target changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields, replace
from typing import Final, Literal

from waypost.catalogue import Capabilities, Lack, Need, lacking, needs_of, refusal, without
from waypost.chat import Json
from waypost.errors import UnsupportedFeature
from waypost.gateway.candidate import Candidate
from waypost.providers.asked import Asked
from waypost.providers.provider import Provider

TOOLS: Final = frozenset({Need.TOOLS, Need.PARALLEL_TOOLS, Need.FORCED_TOOLS})
REASONING: Final = frozenset({Need.REASONING, Need.REASONING_BUDGET, Need.REASONING_OFF, Need.PREFILL_WITH_REASONING})
FORMS: Final = frozenset({Need.STRUCTURED_OUTPUT, Need.JSON_OBJECT})
MEDIA: Final = frozenset({Need.IMAGES, Need.DOCUMENTS, Need.AUDIO_INPUT})
SAMPLING: Final = frozenset({Need.SAMPLING})
NOTHING: Final[frozenset[Need]] = frozenset()
MEMBER_NEEDS: Final[Mapping[str, frozenset[Need]]] = {
    **dict.fromkeys(
        ("model", "stream", "stream_options", "user", "metadata", "stop", "stop_sequences", "seed"), NOTHING
    ),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "max_output_tokens"), NOTHING),
    **dict.fromkeys(("messages", "input", "contents"), NOTHING),
    **dict.fromkeys(("system", "instructions", "systemInstruction"), frozenset({Need.SYSTEM_PROMPT})),
    **dict.fromkeys(("temperature", "top_p", "top_k"), SAMPLING),
    **dict.fromkeys(("tools", "tool_choice", "parallel_tool_calls"), TOOLS),
    **dict.fromkeys(("reasoning_effort", "reasoning", "thinking"), REASONING),
    **dict.fromkeys(("response_format", "text"), FORMS),
    **dict.fromkeys(("logprobs", "top_logprobs"), frozenset({Need.LOGPROBS})),
    "n": frozenset({Need.SEVERAL_CHOICES}),
}
"""What a member at the top level may ask for, in any of the formats. One that is not here may ask for anything."""
TURNS: Final = ("messages", "input", "contents")
LENGTHS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
SHORT_BYTES: Final = 8 * 1024
"""A prompt that fits into every window."""
SHORT_ANSWER: Final = 4096
"""No known model's longest answer is shorter."""
_ABILITIES: Final = tuple(item.name for item in fields(Capabilities) if item.name in set(Need))


@dataclass(slots=True)
class Fitted:
    """The candidates that may be asked, with what the caller should know, and what is asked of those that differ."""

    candidates: Sequence[Candidate[Provider]]
    requests: Mapping[tuple[str, str | None], Asked] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a target by its kind and model. `lacks` are the needs that it is known not to meet."""

    capabilities: Capabilities
    is_local: bool
    lacks: frozenset[Need]

    @classmethod
    def of(cls, capabilities: Capabilities, *, is_local: bool) -> Traits:
        """With the lacks read off the capabilities."""
        lacks = frozenset(Need(name) for name in _ABILITIES if getattr(capabilities, name) is False)
        return cls(capabilities, is_local, lacks)


def fit(
    asked: Asked,
    candidates: Sequence[Candidate[Provider]],
    traits_of: Callable[[Candidate[Provider]], Traits],
    unsupported: Literal["reject", "warn", "drop"],
) -> Fitted:
    """Raises UnsupportedFeature if the route refuses such requests and every target lacks something."""
    lacks = frozenset().union(*(traits_of(candidate).lacks for candidate in candidates))
    if asks_for_none_of(lacks, asked):
        return Fitted(candidates)
    needs = needs_of(asked.request, stream=asked.stream)
    fitted: list[Candidate[Provider]] = []
    requests: dict[tuple[str, str | None], Asked] = {}
    refused: UnsupportedFeature | None = None
    for candidate in candidates:
        found = lacking(needs, traits_of(candidate).capabilities, _name(candidate))
        if not found:
            fitted.append(candidate)
        elif unsupported == "reject":
            refused = refused or refusal(found)
        else:
            dropped = unsupported == "drop"
            fitted.append(replace(candidate, note=_note(found, dropped=dropped)))
            if dropped:
                requests[candidate.target] = Asked.of(without(asked.request, found), stream=asked.stream)
    if refused is not None and not fitted:
        raise refused
    return Fitted(fitted, requests)


def asks_for_none_of(lacks: AbstractSet[Need], asked: Asked) -> bool:
    """Does its top level show that it asks for none of these, and for no long prompt or answer?"""
    if asked.written is None or asked.size_bytes > SHORT_BYTES:
        return False
    members = asked.written.seen.members
    for name in members:
        needs = MEMBER_NEEDS.get(name)
        if needs is None or not needs.isdisjoint(lacks):
            return False
    # A loop, since this is asked of every request: a generator takes longer than all else here.
    for name in LENGTHS:
        length = members.get(name)
        if type(length) is int and length > SHORT_ANSWER:
            return False
    return all(_is_plain(members.get(name), lacks) for name in TURNS if name in members)


def _is_plain(turns: Json, lacks: AbstractSet[Need]) -> bool:
    """Are there only turns of text, or of what nobody lacks, and is the last one not the assistant's own?"""
    if type(turns) is str:
        return True
    if type(turns) is not list or not turns:
        return False
    only_text = not MEDIA.isdisjoint(lacks)
    last: Json = None
    for turn in turns:
        if type(turn) is not dict or (only_text and type(turn.get("content")) is not str):
            return False
        last = turn
    return Need.PREFILL not in lacks or last.get("role") not in ("assistant", "model")


def _name(candidate: Candidate[Provider]) -> str:
    return f"{candidate.name}/{candidate.model}" if candidate.model else candidate.name


def _note(lacks: Sequence[Lack], *, dropped: bool) -> str:
    told = []
    for lack in lacks:
        sentence = lack.message.removesuffix(".")
        told.append(f"{sentence}: {lack.without}" if dropped and lack.without else sentence)
    return "; ".join(told)
