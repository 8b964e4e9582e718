"""Which language a text is in, by its script and its most frequent words: the lists of the library stop-words.

A guess needs a lead over the next language and enough of the text to rest on; else there is none, with the reason.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

LIBRARY: Final = "stop-words"
LIST_NAMES: Final[Mapping[str, str]] = {
    "ar": "arabic", "bg": "bulgarian", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german",
    "en": "english", "es": "spanish", "fa": "persian", "fi": "finnish", "fr": "french", "hi": "hindi",
    "hu": "hungarian", "id": "indonesian", "it": "italian", "nb": "norwegian", "nl": "dutch", "pl": "polish",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sk": "slovak", "sv": "swedish", "tr": "turkish",
    "uk": "ukrainian", "vi": "vietnamese",
}  # fmt: skip
"""Languages that are told by their words, by tag, with the library's name for each."""
SCRIPT_LANGUAGES: Final[Mapping[str, str]] = {
    "GREEK": "el",
    "HEBREW": "he",
    "HANGUL": "ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "THAI": "th",
    "GUJARATI": "gu",
    "CJK": "zh",
}
"""Scripts that are hardly used by another language, by the first word of their characters' names."""
MOST_WORDS: Final = 3_000
LEAST_WORDS: Final = 3
LEAST_SHARE: Final = 0.12
"""Of the words, that must be frequent ones of the language; those of several languages count less."""
LEAST_LEAD: Final = 1.15
_SCRIPT_SAMPLE: Final = 4_000


@dataclass(frozen=True, slots=True)
class Language:
    """`tag` of BCP 47; None: not told, for `reason`."""

    tag: str | None
    reason: str = ""


def language_of(text: str, words: Sequence[str]) -> Language:
    """The language of a text with these words, in small letters."""
    by_script = _by_script(text)
    if by_script is not None:
        return Language(by_script)
    seen = words[:MOST_WORDS]
    if len(seen) < LEAST_WORDS:
        return Language(None, f"fewer than {LEAST_WORDS} words")
    ranked = _scores(seen).most_common(2)
    if not ranked or ranked[0][1] < LEAST_SHARE * len(seen):
        return Language(None, "not a language that is known here, or too mixed")
    if len(ranked) > 1 and ranked[0][1] < LEAST_LEAD * ranked[1][1]:
        return Language(None, f"it may be {ranked[0][0]} or {ranked[1][0]}")
    return Language(ranked[0][0])


@cache
def stop_words(tag: str | None) -> frozenset[str]:
    """The frequent words of a language, those of English for one without a list."""
    from stop_words import get_stop_words

    return frozenset(get_stop_words(LIST_NAMES.get(tag or "", "english")))


def _by_script(text: str) -> str | None:
    """The language that a script alone tells, if most letters are of it; kana among Han characters is Japanese."""
    letters = [character for character in text[:_SCRIPT_SAMPLE] if character.isalpha()]
    scripts = Counter(unicodedata.name(letter, "").split(" ", 1)[0].split("-", 1)[0] for letter in letters)
    languages = Counter[str]()
    for script, number in scripts.items():
        languages[SCRIPT_LANGUAGES.get(script, "")] += number
    if languages["ja"] > 0.1 * (languages["ja"] + languages["zh"]):
        languages["ja"] += languages.pop("zh", 0)
    best = languages.most_common(1)
    return best[0][0] or None if best and best[0][1] > 0.5 * len(letters) else None


def _scores(words: Sequence[str]) -> Counter[str]:
    """For each language what its frequent words weigh: one that several languages have, as little as there are many."""
    owners = _owners()
    scores: Any = Counter()
    for word, number in Counter(words).items():
        tags = owners.get(word, ())
        for tag in tags:
            scores[tag] += number / len(tags)
    return scores  # type: ignore[no-any-return]


@cache
def _owners() -> Mapping[str, tuple[str, ...]]:
    owners: dict[str, tuple[str, ...]] = {}
    for tag in LIST_NAMES:
        for word in stop_words(tag):
            owners[word] = (*owners.get(word, ()), tag)
    return owners
