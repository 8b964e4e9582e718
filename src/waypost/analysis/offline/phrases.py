"""What a text is about, by the phrases it uses most: runs of words between frequent ones, as RAKE finds them.

A phrase counts by how often it comes, how many words it has and how early it comes first. In German only phrases that
hold a noun count, known by its capital letter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from waypost.analysis.offline.language import stop_words
from waypost.analysis.offline.words import WORD, Sentence, word_list

MOST_PHRASE_WORDS: Final = 3
LEAST_LETTERS: Final = 3
MOST_DISTINCT: Final = 50_000
"""Phrases that are counted; of a longer text what comes first."""
_LONGER: Final = 0.6
"""What each further word of a phrase adds to its weight."""
_EARLY: Final = 0.5
_ONCE: Final = 0.5
"""What a phrase that comes once loses: it is in the text by chance more often than one that comes again."""
NO_THEMES: Final = word_list("no_themes")
"""Words that name no subject, though no list of stop words has them all."""


_Key: TypeAlias = tuple[str, ...]
"""The stems of a phrase's words."""


@dataclass(slots=True)
class _Phrase:
    first: int
    number: int = 0
    forms: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Phrases:
    """What a text is about, the weightiest first, as it is written where it comes most often.

    `themes` are phrases, none of which is within another; `topics` the most frequent single words.
    """

    themes: list[str]
    topics: list[str]


def phrases_of(sentences: Sequence[Sentence], language: str | None, most: int) -> Phrases:
    """At most so many themes and topics."""
    counted = _counted(sentences, language)
    singles = sorted(
        (key for key in counted if len(key) == 1), key=lambda key: (-counted[key].number, counted[key].first)
    )
    return Phrases(
        [_shown(counted[key]) for key in _themes(counted, max(1, len(sentences)), most)],
        [_shown(counted[key]) for key in singles[:most]],
    )


def _themes(counted: Mapping[_Key, _Phrase], total: int, most: int) -> list[_Key]:
    repeats = any(phrase.number > 1 for phrase in counted.values())

    def weight(key: _Key) -> float:
        phrase = counted[key]
        early = 1 + _EARLY * (1 - phrase.first / total)
        return (phrase.number - _ONCE) * (1 + _LONGER * (len(key) - 1)) * early

    ranked = sorted((key for key in counted if counted[key].number > 1 or not repeats or len(key) > 1), key=weight)
    chosen: list[_Key] = []
    while ranked and len(chosen) < most:
        key = ranked.pop()
        if not any(_is_within(key, other) or _is_within(other, key) for other in chosen):
            chosen.append(key)
    return chosen


def _shown(phrase: _Phrase) -> str:
    return phrase.forms.most_common(1)[0][0]


def _counted(sentences: Sequence[Sentence], language: str | None) -> dict[_Key, _Phrase]:
    counted: dict[_Key, _Phrase] = {}
    only_nouns = language == "de"
    frequent = stop_words(language) | NO_THEMES
    for place, sentence in enumerate(sentences):
        if sentence.is_formula:
            continue
        for run in _runs(sentence, frequent):
            for phrase in _within(run):
                if only_nouns and not phrase[-1][:1].isupper():
                    continue
                key = tuple(map(_stem, phrase))
                if key not in counted and len(counted) >= MOST_DISTINCT:
                    continue
                found = counted.setdefault(key, _Phrase(place))
                found.number += 1
                found.forms[" ".join(phrase)] += 1
    return counted


def _runs(sentence: Sentence, frequent: frozenset[str]) -> Iterator[list[str]]:
    """Words in a row with nothing but spaces between them, none of which is a frequent one."""
    run: list[str] = []
    end = 0
    for match in WORD.finditer(sentence.text):
        word = match.group()
        if sentence.text[end : match.start()].strip():
            yield run
            run = []
        end = match.end()
        if word.lower() in frequent or len(word) < LEAST_LETTERS or _is_contraction(word):
            yield run
            run = []
        else:
            run.append(word)
    yield run


def _is_contraction(word: str) -> bool:
    return "'" in word or "’" in word  # noqa: RUF001 - the typographic apostrophe


def _within(run: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for length in range(1, MOST_PHRASE_WORDS + 1):
        for start in range(len(run) - length + 1):
            yield tuple(run[start : start + length])


def _stem(word: str) -> str:
    """Singular and plural of most English words are one."""
    small = word.lower()
    return small[:-1] if small.endswith("s") and not small.endswith("ss") and len(small) > LEAST_LETTERS else small


def _is_within(short: tuple[str, ...], long: tuple[str, ...]) -> bool:
    return any(long[at : at + len(short)] == short for at in range(len(long) - len(short) + 1))
