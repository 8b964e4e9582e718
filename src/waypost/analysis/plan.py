"""Which calls an analysis takes, in which order. Pure: the same content, kinds and limits give the same parts.

A content that fits into one call is one part of each kind. A longer one is cut into chunks, each a part; then reduce
parts join their results, as many at a time as fit into a call, until one is left. A model on this machine is weak:
for the built-in kind it reads a few chunks, spread evenly, and nothing is reduced by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final, Literal

import msgspec

from waypost.analysis.chunks import LEAST_CHUNK_TOKENS, chunks_of
from waypost.analysis.kinds import Kind
from waypost.analysis.limits import Limits
from waypost.analysis.prompts import messages_for_chunk, messages_for_reduce
from waypost.chat import Request
from waypost.codecs.estimate import estimate_input_tokens
from waypost.errors import DocumentTooLarge, EmptyDocument, UnsupportedFeature

MOST_CONTENT_BYTES: Final = 2 * 1024 * 1024
"""The longest content, as UTF-8, where nobody says otherwise."""
MOST_PARTS: Final = 2_000
"""Of one analysis: each is a call that somebody pays."""
USED_SHARE: Final = 0.75
"""How much of a context window is planned for: tokens are estimated, within a quarter."""
MOST_CHUNK_TOKENS: Final = 24_000
"""A longer chunk would fit into many windows, and be read worse."""
LEAST_OUTPUT_TOKENS: Final = 128
OUTPUT_SHARE: Final = 10
"""An answer gets the tenth part of the window at most: a repair holds it twice, a reduce part several of them."""
REPAIR_TOKENS: Final = 600
"""What tells a model what was wrong."""
MOST_JOINED: Final = 16
"""Results that one reduce part joins at most."""
MOST_WEAK_PARTS: Final = 4
WEAK_OUTPUT_TOKENS: Final = 120


@dataclass(frozen=True, slots=True)
class Part:
    """One call's worth of an analysis, as JSON can hold it.

    A chunk part has its text, from character `start` to `end` of the content; a reduce part has the indexes of the
    parts whose results it joins. `number` of `count` are those of its step and kind.
    """

    index: int
    kind: str
    step: Literal["chunk", "reduce"]
    model: str
    output_tokens: int
    number: int = 1
    count: int = 1
    text: str = ""
    start: int = 0
    end: int = 0
    inputs: tuple[int, ...] = ()
    is_weak: bool = False
    """Is only asked for what a small model can do."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        told: dict[str, Any] = msgspec.to_builtins(self)
        return told

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Part:
        """The part that `to_dict` told of. Raises msgspec.ValidationError."""
        return msgspec.convert(told, cls)


def parts_of(
    text: str,
    kinds: Sequence[Kind],
    limits: Limits | Mapping[str, Limits],
    *,
    most_bytes: int = MOST_CONTENT_BYTES,
) -> Sequence[Part]:
    """The parts, each after those that it joins. `limits` are of the model asked, or of each kind's by its name.

    Takes about half a second for the longest content: a server does it in a thread. Raises EmptyDocument,
    DocumentTooLarge, and UnsupportedFeature if the target's window is too small for a kind.
    """
    if not text.strip():
        raise EmptyDocument("The content has no text.")
    size_bytes = len(text.encode("utf-8", "replace"))
    if size_bytes > most_bytes:
        raise DocumentTooLarge(f"The content has {size_bytes} bytes as UTF-8; {most_bytes} is the limit.")
    parts: list[Part] = []
    for kind in kinds:
        own = limits if isinstance(limits, Limits) else limits[kind.name]
        parts += _parts_of_kind(text, kind, own, len(parts))
    if len(parts) > MOST_PARTS:
        raise DocumentTooLarge(
            f"The analysis takes {len(parts)} calls; {MOST_PARTS} is the limit.",
            hint="Name a model with a larger context window, ask for fewer kinds, or send less at once.",
        )
    return parts


def _parts_of_kind(text: str, kind: Kind, limits: Limits, first: int) -> list[Part]:
    if limits.is_weak and kind.is_built_in:
        return _weak_parts(text, kind, limits, first)
    sizes = sizes_of(kind, limits)
    spans = _told(text, sizes.chunk_tokens)
    chunks = [_chunk(text, span, kind, limits, sizes.output_tokens) for span in spans]
    parts = [_placed(chunk, first + at, at, len(chunks)) for at, chunk in enumerate(chunks)]
    if len(parts) == 1:
        return parts
    if sizes.joined < 2:
        raise _too_small(kind, limits)
    reducing = _reduce_parts([part.index for part in parts], kind, limits, sizes)
    return [*parts, *(_placed(part, parts[-1].index + 1 + at, at, len(reducing)) for at, part in enumerate(reducing))]


def _reduce_parts(indexes: list[int], kind: Kind, limits: Limits, sizes: Sizes) -> list[Part]:
    """Level by level; one that would be alone in its group goes up to the next level as it is."""
    numbers = count(indexes[-1] + 1)
    parts: list[Part] = []
    while len(indexes) > 1:
        following: list[int] = []
        for group in _groups(indexes, sizes.joined):
            if len(group) == 1:
                following.append(group[0])
                continue
            following.append(next(numbers))
            parts.append(Part(0, kind.name, "reduce", limits.model, sizes.output_tokens, inputs=group))
        indexes = following
    return parts


def _groups(indexes: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    return (tuple(indexes[at : at + size]) for at in range(0, len(indexes), size))


def _weak_parts(text: str, kind: Kind, limits: Limits, first: int) -> list[Part]:
    room = int(limits.window_tokens * USED_SHARE) - 2 * WEAK_OUTPUT_TOKENS - REPAIR_TOKENS
    if room < LEAST_CHUNK_TOKENS:
        raise _too_small(kind, limits)
    spans = _told(text, min(room, MOST_CHUNK_TOKENS))
    read = list(_spread(spans, MOST_WEAK_PARTS))
    chunks = [_chunk(text, span, kind, limits, WEAK_OUTPUT_TOKENS, is_weak=True) for span in read]
    return [_placed(chunk, first + at, at, len(chunks)) for at, chunk in enumerate(chunks)]


def _told(text: str, limit_tokens: int) -> list[tuple[int, int]]:
    """The chunks in which there is more than white space."""
    return [(start, end) for start, end in chunks_of(text, limit_tokens) if not text[start:end].isspace()]


def _spread(spans: Sequence[tuple[int, int]], most: int) -> Iterator[tuple[int, int]]:
    """At most so many of them, the first and the last among them."""
    if len(spans) <= most:
        yield from spans
        return
    for number in range(most):
        yield spans[number * (len(spans) - 1) // (most - 1)]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How a kind's parts are sized for a target, in tokens; `joined` results go into one reduce part."""

    chunk_tokens: int
    output_tokens: int
    joined: int


def sizes_of(kind: Kind, limits: Limits) -> Sizes:
    """The sizes. Raises UnsupportedFeature if the window is too small for the kind."""
    output_tokens = min(
        kind.max_output_tokens,
        limits.output_tokens or kind.max_output_tokens,
        max(LEAST_OUTPUT_TOKENS, limits.window_tokens // OUTPUT_SHARE),
    )
    room = int(limits.window_tokens * USED_SHARE) - 2 * output_tokens - REPAIR_TOKENS
    chunk_tokens = min(room - _wording_tokens(kind), MOST_CHUNK_TOKENS)
    if chunk_tokens < LEAST_CHUNK_TOKENS:
        raise _too_small(kind, limits)
    joined = min((room - _reduce_wording_tokens(kind)) // output_tokens, MOST_JOINED)
    return Sizes(chunk_tokens, output_tokens, joined)


def _wording_tokens(kind: Kind) -> int:
    where = part_told(1_000, 1_000)
    return estimate_input_tokens(Request("", messages_for_chunk(kind, "", where, tell_schema=True)))


def _reduce_wording_tokens(kind: Kind) -> int:
    return estimate_input_tokens(Request("", messages_for_reduce(kind, (), tell_schema=True)))


def part_told(number: int, total: int) -> str:
    """What a model is told of where a chunk stands; nothing of one that is the whole content."""
    return f"The content is part {number} of {total} of a longer one; analyze this part." if total > 1 else ""


def _chunk(
    text: str, span: tuple[int, int], kind: Kind, limits: Limits, output_tokens: int, *, is_weak: bool = False
) -> Part:
    start, end = span
    chunk = text[start:end]
    return Part(0, kind.name, "chunk", limits.model, output_tokens, text=chunk, start=start, end=end, is_weak=is_weak)


def _placed(part: Part, index: int, at: int, total: int) -> Part:
    return replace(part, index=index, number=at + 1, count=total)


def _too_small(kind: Kind, limits: Limits) -> UnsupportedFeature:
    return UnsupportedFeature(
        f'{limits.model} reads {limits.window_tokens} tokens at once, which is too few for the kind "{kind.name}".',
        hint="Name a model with a larger context window, or shorten the kind's prompt and schema.",
        param="model",
    )
