"""A long text cut into chunks that each fit into a number of tokens. Pure: the same text gives the same chunks.

The invariants: the chunks joined are the text, none is empty, and none is over the limit. Cuts are made after a
paragraph, else after a sentence, a line or a word, whichever leaves the chunk at least half full; where there is none
of them, between two characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from waypost.codecs.estimate import estimate_text_tokens

LEAST_CHUNK_TOKENS: Final = 16
_CHARACTERS_A_TOKEN: Final = 6
"""Where the search begins: a little more than prose has."""
_CUTS: Final = (
    re.compile(r"\n[ \t]*\n\s*"),
    re.compile(r"(?<=[.!?…])[\"'”’»)\]]*+\s++|(?<=[。！？])"),  # noqa: RUF001 - full-width marks end sentences
    re.compile(r"\n"),
    re.compile(r"\s+"),
)
"""Where a cut may be, the best first; the cut is after what matches."""
_JOINERS: Final = "\u200d\ufe0e\ufe0f"
"""Zero-width joiner and variation selectors: what is before them belongs to what is after."""


def chunks_of(text: str, limit_tokens: int) -> Iterator[tuple[int, int]]:
    """Start and end of each chunk, in characters. Raises ValueError for a limit that a character may be over."""
    if limit_tokens < LEAST_CHUNK_TOKENS:
        raise ValueError(f"chunks of {limit_tokens} tokens are too small; {LEAST_CHUNK_TOKENS} is the least")
    start = 0
    while start < len(text):
        end = _longest(text, start, limit_tokens)
        if end < len(text):
            end = _cut(text, start, end)
        yield start, end
        start = end


def _longest(text: str, start: int, limit_tokens: int) -> int:
    """The end of the longest chunk from `start` on that is within the limit: more text is never fewer tokens."""
    fits, length = start + 1, limit_tokens * _CHARACTERS_A_TOKEN
    while start + length < len(text) and estimate_text_tokens(text[start : start + length]) <= limit_tokens:
        fits, length = start + length, 2 * length
    over = min(len(text), start + length) + 1
    while over - fits > 1:
        middle = (fits + over) // 2
        if estimate_text_tokens(text[start:middle]) <= limit_tokens:
            fits = middle
        else:
            over = middle
    return fits


def _cut(text: str, start: int, end: int) -> int:
    """The last good place for a cut in the second half of what fits. What matches must be within it as a whole."""
    half = start + (end - start + 1) // 2
    for pattern in _CUTS:
        places = [match.end() for match in pattern.finditer(text, half, end)]
        if places:
            return places[-1]
    return _between_characters(text, start, end)


def _between_characters(text: str, start: int, end: int) -> int:
    """As near to `end` as may be without parting an accent or a joined emoji from what it belongs to."""
    for place in range(end, max(start, end - 32), -1):
        if not (unicodedata.combining(text[place]) or text[place] in _JOINERS or text[place - 1] in _JOINERS):
            return place
    return end
