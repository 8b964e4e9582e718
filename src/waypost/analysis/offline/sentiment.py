"""How the author of a text feels about what is told: label and score, sentence by sentence.

English is judged by vaderSentiment, German by a word list of our own. For any other language there is no answer, with
the reason: a word list of another language would give one that looks the same and means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from waypost.analysis.offline import german_sentiment
from waypost.analysis.offline.words import Sentence

VADER: Final = "vaderSentiment"
MOST_SENTENCES: Final = 1_500
"""Of a longer text so many are judged, spread evenly."""
MOST_CHARACTERS: Final = 1_000
"""Of one sentence."""
FELT: Final = 0.2
"""A sentence below it, either way, says nothing of feelings."""
CLEAR: Final = 0.08
"""A mean below it is neutral."""
MIXED_SHARE: Final = 0.4
"""Both ways are told if the weaker one has so much of what the stronger one has."""


@dataclass(frozen=True, slots=True)
class Sentiment:
    """`label` and `score` (-1 to 1) are None where they cannot be told, for `reason`. `origin` is who judged."""

    label: str | None
    score: float | None
    origin: str
    reason: str = ""


def sentiment_of(sentences: Sequence[Sentence], language: str | None) -> Sentiment:
    """The sentiment of a text in a language."""
    judge = JUDGES.get((language or "").partition("-")[0])
    if judge is None:
        told = f"no word list for {language}" if language else "the language is not known"
        return Sentiment(None, None, "offline", f"{told}: sentiment is only judged in {', '.join(sorted(JUDGES))}")
    origin, score = judge
    read = _spread([sentence.said for sentence in sentences if not sentence.is_formula])
    return _overall([score(sentence) for sentence in read], origin)


def _overall(scores: Sequence[float], origin: str) -> Sentiment:
    positive = sum(score for score in scores if score > FELT)
    negative = -sum(score for score in scores if score < -FELT)
    mean = (positive - negative) / max(1, len(scores))
    felt = [score for score in scores if abs(score) > FELT]
    weaker, stronger = sorted((positive, negative))
    if len(felt) > 1 and weaker >= MIXED_SHARE * stronger and stronger / len(scores) > CLEAR:
        return Sentiment("mixed", round(mean, 3), origin)
    if abs(mean) < CLEAR:
        return Sentiment("neutral", round(mean, 3), origin)
    return Sentiment("positive" if mean > 0 else "negative", round(mean, 3), origin)


def _spread(sentences: Sequence[Sentence]) -> Sequence[Sentence]:
    if len(sentences) <= MOST_SENTENCES:
        return sentences
    return [sentences[number * len(sentences) // MOST_SENTENCES] for number in range(MOST_SENTENCES)]


@cache
def _vader() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def _english(sentence: Sentence) -> float:
    compound: float = _vader().polarity_scores(sentence.text[:MOST_CHARACTERS])["compound"]
    return compound


def _german(sentence: Sentence) -> float:
    return german_sentiment.score(sentence.words)


JUDGES: Final[Mapping[str, tuple[str, Callable[[Sentence], float]]]] = {
    "en": (VADER, _english),
    "de": (german_sentiment.NAME, _german),
}
"""By language: who judges, and how, from -1 to 1."""
