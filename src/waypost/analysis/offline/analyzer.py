"""The offline analyzer: the built-in kind's result without any model, each field with who computed it.

What cannot be told is None, and `notes` says why; nothing is guessed. The time is bounded: of a text over
MOST_CHARACTERS slices are read that are spread evenly, and `notes` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from waypost.analysis.kinds import MOST_SUGGESTIONS
from waypost.analysis.offline import language as languages
from waypost.analysis.offline.advice import Advice, Measured, advice_on, strengths_of
from waypost.analysis.offline.phrases import phrases_of
from waypost.analysis.offline.readability import readability_of
from waypost.analysis.offline.sentiment import sentiment_of
from waypost.analysis.offline.words import paragraphs_of, sentences_of, words_of

OFFLINE: Final = "offline"
MOST_CHARACTERS: Final = 200_000
SLICES: Final = 10
MOST_PHRASES: Final = 6
MOST_REASONS: Final = 6
_MOST_THEME_CHARACTERS: Final = 80
UNSPACED: Final = frozenset({"ja", "zh", "th"})
"""Languages that put no space between words: nothing here can count their words."""


def analyze_offline(text: str) -> dict[str, Any]:
    """The result of a text: the fields of the built-in kind, `readability`, `computed` and `notes`.

    `computed` names who computed each field: a library, or "offline" for this package's own rules.
    """
    read = _read(text)
    paragraphs, sentences, words = paragraphs_of(read), sentences_of(read), words_of(read)
    language = languages.language_of(read, words)
    notes = {} if read is text else {"text": f"Of {len(text)} characters {len(read)} were read, in {SLICES} slices."}
    if language.tag is None:
        notes["language"] = _sentence(language.reason)
    if language.tag in UNSPACED or not words:
        return {**_unmeasured(language.tag, notes), "language": language.tag}
    measured = Measured(read, paragraphs, sentences, words, language.tag, readability_of(sentences, language.tag))
    return _measured(measured, notes)


def _measured(measured: Measured, notes: dict[str, str]) -> dict[str, Any]:
    language, sentences = measured.language, measured.sentences
    sentiment = sentiment_of(sentences, language)
    if sentiment.label is None:
        notes["sentiment"] = _sentence(sentiment.reason)
    if measured.readability is None:
        notes["readability"] = _sentence(f"there is no formula for {language or 'an unknown language'}")
    found = advice_on(measured)
    phrases = phrases_of(sentences, language, MOST_PHRASES)
    return {
        "themes": [phrase[:_MOST_THEME_CHARACTERS] for phrase in phrases.themes],
        "topics": [word[:_MOST_THEME_CHARACTERS] for word in phrases.topics],
        "sentiment": None if sentiment.label is None else {"label": sentiment.label, "score": sentiment.score},
        "quality": _quality(measured, found),
        "suggestions": [{"text": each.text, "quote": each.quote} for each in found[:MOST_SUGGESTIONS]],
        "language": language,
        "readability": measured.readability,
        "computed": {
            "themes": languages.LIBRARY,
            "topics": languages.LIBRARY,
            "sentiment": sentiment.origin,
            "quality": OFFLINE,
            "suggestions": OFFLINE,
            "language": languages.LIBRARY,
            "readability": OFFLINE,
        },
        "notes": notes,
    }


def _quality(measured: Measured, found: Sequence[Advice]) -> dict[str, Any]:
    reasons = dict.fromkeys(each.reason for each in found)
    told = [*reasons, *strengths_of(measured, found)][:MOST_REASONS]
    return {"score": max(0, 90 - sum(each.points for each in found)), "reasons": told}


def _unmeasured(language: str | None, notes: dict[str, str]) -> dict[str, Any]:
    """Of a text whose words cannot be counted, nothing but the language is known."""
    why = f"the words of a text in {language} cannot be counted" if language else "there are no words in the text"
    fields = ("themes", "topics", "sentiment", "quality", "suggestions", "readability")
    return {
        **dict.fromkeys(fields),
        "themes": [],
        "topics": [],
        "suggestions": [],
        "computed": {**dict.fromkeys(fields, OFFLINE), "language": languages.LIBRARY},
        "notes": {**notes, **dict.fromkeys(fields, _sentence(why))},
    }


def _read(text: str) -> str:
    """The text, or slices of a long one, each from the beginning of a word to the end of one."""
    if len(text) <= MOST_CHARACTERS:
        return text
    length, step = MOST_CHARACTERS // SLICES, len(text) // SLICES
    slices = [text[number * step : number * step + length] for number in range(SLICES)]
    return "\n\n".join(" ".join(piece.split(" ")[1:-1]) if " " in piece else piece for piece in slices)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
