"""How positive or negative a German sentence is, by a word list of our own and a few rules. No library has one.

A word counts from -3 to 3. What comes up to three words after a negation counts against itself, weaker; words such as
"sehr" strengthen the next one; what comes after "aber" counts more than what is before it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

NAME: Final = "offline"
ENDINGS: Final = ("", "e", "en", "er", "es", "em", "ere", "eren", "erer", "eres", "ste", "sten", "ster", "stes")
"""What an adjective may end in."""
_REACH: Final = 3
_NEGATED: Final = -0.7
_STRONGER: Final = 1.35
_WEAKER: Final = 0.6
_BEFORE_TURN: Final = 0.5
_AFTER_TURN: Final = 1.3
_HALF: Final = 15.0
"""A sum of its square root has the score 0.71: the more is said, the less another word adds."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """What each word counts, and the words that change what others count."""

    values: Mapping[str, float]
    negations: frozenset[str]
    stronger: frozenset[str]
    weaker: frozenset[str]
    turns: frozenset[str]


@cache
def lexicon() -> Lexicon:
    """The word list, with the adjectives' forms."""
    text = files("waypost.analysis.offline").joinpath("german_sentiment.json").read_text(encoding="utf-8")
    data = json.loads(text)
    values = {
        word + ending: float(value)
        for value, words in data["adjectives"].items()
        for word in words.split()
        for ending in ENDINGS
    }
    values |= {word: float(value) for value, words in data["words"].items() for word in words.split()}
    return Lexicon(values, *(frozenset(data[name].split()) for name in ("negations", "stronger", "weaker", "turns")))


def score(words: Sequence[str]) -> float:
    """From -1 to 1, of a sentence's words in small letters; 0 if none of them is known."""
    known = lexicon()
    turn = max((at for at, word in enumerate(words) if word in known.turns and at > 0), default=None)
    total = 0.0
    for at, word in enumerate(words):
        value = known.values.get(word)
        if value is not None:
            total += value * _change(known, words[max(0, at - _REACH) : at]) * _weight(at, turn)
    return total / math.sqrt(total * total + _HALF)


def _change(known: Lexicon, before: Sequence[str]) -> float:
    negated = _NEGATED if known.negations.intersection(before) else 1.0
    last = before[-1] if before else ""
    return negated * (_STRONGER if last in known.stronger else _WEAKER if last in known.weaker else 1.0)


def _weight(at: int, turn: int | None) -> float:
    if turn is None:
        return 1.0
    return _BEFORE_TURN if at < turn else _AFTER_TURN
