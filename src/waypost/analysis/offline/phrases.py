"""What a text is about, by the phrases it uses most: runs of words between frequent ones, as RAKE finds them.

A phrase counts by how often it comes, how many words it has and how early it comes first. In German only phrases that
hold a noun count, known by its capital letter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

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


@dataclass(slots=True)
class _Phrase:
    shown: str
    first: int
    number: int = 0
    forms: Counter[str] = field(default_factory=Counter)


def phrases_of(sentences: Sequence[Sentence], language: str | None, most: int) -> list[str]:
    """The key phrases, the weightiest first, as they are written where they come most often."""
    counted = _counted(sentences, language)
    repeats = any(phrase.number > 1 for phrase in counted.values())
    total = max(1, len(sentences))

    def weight(key: tuple[str, ...]) -> float:
        phrase = counted[key]
        early = 1 + _EARLY * (1 - phrase.first / total)
        return (phrase.number - _ONCE) * (1 + _LONGER * (len(key) - 1)) * early

    ranked = sorted((key for key in counted if counted[key].number > 1 or not repeats or len(key) > 1), key=weight)
    chosen: list[tuple[str, ...]] = []
    for key in reversed(ranked):
        if not any(_is_within(key, other) or _is_within(other, key) for other in chosen):
            chosen.append(key)
        if len(chosen) == most:
            break
    return [counted[key].forms.most_common(1)[0][0] for key in chosen]


def topics_of(sentences: Sequence[Sentence], language: str | None, most: int) -> list[str]:
    """The most frequent single words that name something."""
    counted = {key: phrase for key, phrase in _counted(sentences, language).items() if len(key) == 1}
    ranked = sorted(counted, key=lambda key: (-counted[key].number, counted[key].first))
    return [counted[key].forms.most_common(1)[0][0] for key in ranked[:most]]


def _counted(sentences: Sequence[Sentence], language: str | None) -> dict[tuple[str, ...], _Phrase]:
    counted: dict[tuple[str, ...], _Phrase] = {}
    only_nouns = language == "de"
    for place, sentence in enumerate(sentences):
        if sentence.is_formula:
            continue
        for run in _runs(sentence, language):
            for phrase in _within(run):
                if only_nouns and not phrase[-1][:1].isupper():
                    continue
                key = tuple(map(_stem, phrase))
                if key not in counted and len(counted) >= MOST_DISTINCT:
                    continue
                found = counted.setdefault(key, _Phrase(" ".join(phrase), place))
                found.number += 1
                found.forms[" ".join(phrase)] += 1
    return counted


def _runs(sentence: Sentence, language: str | None) -> Iterator[list[str]]:
    """Words in a row with nothing but spaces between them, none of which is a frequent one."""
    frequent = stop_words(language) | NO_THEMES
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
