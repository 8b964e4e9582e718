"""How well a text is written, and what would make it better: by measures that people agree on, each a row of CHECKS.

A check that finds something takes points off and says why, with advice that quotes the text where a passage shows it.
Quotes are copied exactly.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from waypost.analysis.offline.language import stop_words
from waypost.analysis.offline.words import Sentence

MOST_QUOTE_CHARACTERS: Final = 300
LONG_WORDS: Final = 30
"""A sentence with more words is long."""
LONG_MEAN_WORDS: Final = 22
WALL_WORDS: Final = 180
"""A paragraph with more words is a wall of text."""
HARD: Final = 45.0
"""A readability below it is hard to read."""
SHORT_WORDS: Final = 25
"""A text with fewer words says too little to be judged by counting."""
_PASSIVE: Final = {
    "en": re.compile(
        r"\b(?:is|are|was|were|be|been|being)\s+(?:\w+ly\s+)?(?:\w{2,}ed|made|done|given|taken|known|seen|"
        r"found|sent|told|held|kept|paid|built|written|broken|shown|sold|brought|bought|put|read|lost)\b",
        re.IGNORECASE,
    ),
    "de": re.compile(
        r"\b(?:wird|werden|wurde|wurden|worden)\b(?:\s+\S+){0,12}?\s+\w*(?:ge\w+(?:t|en)|iert)\b", re.IGNORECASE
    ),
}
"""What a sentence in the passive voice looks like, by language."""
PASSIVE_SHARE: Final = 0.3
_SHOUTED: Final = re.compile(r"\b[A-ZÄÖÜ]{4,}\b(?:\W+\b[A-ZÄÖÜ]{2,}\b){2,}|!{2,}")
REPEATED_SHARE: Final = 0.05
REPEATED_LEAST: Final = 6


@dataclass(frozen=True, slots=True)
class Measured:
    """A text as the checks see it. `readability` None: there is no formula for its language."""

    text: str
    paragraphs: Sequence[str]
    sentences: Sequence[Sentence]
    words: Sequence[str]
    language: str | None
    readability: float | None


@dataclass(frozen=True, slots=True)
class Advice:
    """Points off, why, what to do about it, and the passage that shows it."""

    points: int
    reason: str
    text: str
    quote: str | None = None


def advice_on(measured: Measured) -> list[Advice]:
    """What the checks found, the gravest first."""
    return sorted((found for check in CHECKS for found in check(measured)), key=lambda found: -found.points)


def strengths_of(measured: Measured, found: Sequence[Advice]) -> list[str]:
    """What speaks for the text, as far as it can be measured."""
    reasons = []
    mean = _mean_words(measured)
    if mean <= LONG_MEAN_WORDS:
        reasons.append(f"Sentences have {mean:.0f} words on average.")
    if measured.readability is not None and measured.readability >= HARD:
        reasons.append(f"It is easy enough to read: {measured.readability:.0f} of 100 by Flesch's formula.")
    if len(measured.paragraphs) > 2:
        reasons.append(f"It is divided into {len(measured.paragraphs)} paragraphs.")
    return reasons or ([] if found else ["Nothing that can be measured speaks against it."])


def _mean_words(measured: Measured) -> float:
    return len(measured.words) / max(1, len(measured.sentences))


def _quoted(text: str) -> str:
    """The passage, cut at a space if it is long."""
    return text if len(text) <= MOST_QUOTE_CHARACTERS else text[:MOST_QUOTE_CHARACTERS].rsplit(None, 1)[0]


def _long_sentences(measured: Measured) -> Iterator[Advice]:
    long = sorted(
        (each for each in measured.sentences if len(each.words) > LONG_WORDS), key=lambda each: -len(each.words)
    )
    share = len(long) / max(1, len(measured.sentences))
    for number, sentence in enumerate(long[:3]):
        yield Advice(
            max(2, min(15, round(share * 60))) if number == 0 else 1,
            f"{len(long)} of {len(measured.sentences)} sentences have more than {LONG_WORDS} words.",
            f"Divide this sentence of {len(sentence.words)} words into shorter ones.",
            _quoted(sentence.text),
        )


def _long_on_average(measured: Measured) -> Iterator[Advice]:
    mean = _mean_words(measured)
    if mean > LONG_MEAN_WORDS:
        told = f"Sentences have {mean:.0f} words on average."
        yield Advice(min(15, 2 * round(mean - LONG_MEAN_WORDS) + 2), told, "Use shorter sentences throughout.")


def _hard_to_read(measured: Measured) -> Iterator[Advice]:
    if measured.readability is not None and measured.readability < HARD:
        told = f"It is hard to read: {measured.readability:.0f} of 100 by Flesch's formula."
        yield Advice(min(20, round((HARD - measured.readability) / 2) + 2), told, "Use shorter and more common words.")


def _walls_of_text(measured: Measured) -> Iterator[Advice]:
    for paragraph in measured.paragraphs:
        number = len(paragraph.split())
        if number > WALL_WORDS:
            told = f"A paragraph has {number} words."
            yield Advice(8, told, "Divide the paragraph that begins so, or give it headings.", _quoted(paragraph[:150]))
            return


def _passive(measured: Measured) -> Iterator[Advice]:
    pattern = _PASSIVE.get(measured.language or "")
    passive = [each for each in measured.sentences if pattern is not None and pattern.search(each.text[:1000])]
    share = len(passive) / max(1, len(measured.sentences))
    if share > PASSIVE_SHARE and len(passive) > 2:
        told = f"{len(passive)} of {len(measured.sentences)} sentences are in the passive voice."
        yield Advice(6, told, "Say who does it: use the active voice here.", _quoted(passive[0].text))


def _repeated_word(measured: Measured) -> Iterator[Advice]:
    frequent = stop_words(measured.language)
    counted = Counter(word for word in measured.words if word not in frequent and len(word) > 3)
    for word, number in counted.most_common(1):
        if number >= REPEATED_LEAST and number > REPEATED_SHARE * len(measured.words):
            told = f'"{word}" comes {number} times in {len(measured.words)} words.'
            quote = next((each.text for each in measured.sentences if each.words.count(word) > 1), None)
            yield Advice(6, told, f'Find other words for "{word}".', None if quote is None else _quoted(quote))


def _repeated_sentence(measured: Measured) -> Iterator[Advice]:
    counted = Counter(each.text for each in measured.sentences if len(each.words) > 3)
    for text, number in counted.most_common(1):
        if number > 1:
            yield Advice(10, f"A sentence comes {number} times.", "Say this once.", _quoted(text))


def _shouting(measured: Measured) -> Iterator[Advice]:
    match = _SHOUTED.search(measured.text)
    if match is not None:
        sentence = next((each.text for each in measured.sentences if match.group() in each.text), match.group())
        yield Advice(6, "Capitals or exclamation marks shout.", "Say this in a calm tone.", _quoted(sentence))


def _too_short(measured: Measured) -> Iterator[Advice]:
    if len(measured.words) < SHORT_WORDS:
        told = f"It has {len(measured.words)} words, which is too few to judge it by."
        yield Advice(25, told, "Say more: give a reason, an example or a detail.", _quoted(measured.text.strip()))


CHECKS: Final[tuple[Callable[[Measured], Iterator[Advice]], ...]] = (
    _long_sentences,
    _long_on_average,
    _hard_to_read,
    _walls_of_text,
    _passive,
    _repeated_word,
    _repeated_sentence,
    _shouting,
    _too_short,
)
