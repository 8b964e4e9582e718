"""How easy a text is to read, by Flesch's formula and its forms for other languages: 0 is hard, 100 easy.

Syllables are counted as groups of vowels, which is off by a few per cent: the figure is for comparing, not a fact.
Sources: Flesch 1948 (English), Amstad 1978 (German), Kandel and Moles 1958 (French), Fernández Huerta 1959 (Spanish),
Franchina and Vacca 1986 (Italian), Douma 1960 (Dutch).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from waypost.analysis.offline.words import Sentence

FORMULAS: Final[Mapping[str, tuple[float, float, float]]] = {
    "en": (206.835, 1.015, 84.6),
    "de": (180.0, 1.0, 58.5),
    "fr": (207.0, 1.015, 73.6),
    "es": (206.84, 1.02, 60.0),
    "it": (217.0, 1.3, 60.0),
    "nl": (206.84, 0.93, 77.0),
}
"""A constant, less so much for each word of a mean sentence and each syllable of a mean word."""
_VOWELS: Final = re.compile(r"[aeiouyàáâãäåæèéêëìíîïòóôõöøùúûüýÿœ]+", re.IGNORECASE)
_SILENT: Final = re.compile(r"(?<=[^aeiouy])(?:e|es|ed)$", re.IGNORECASE)
"""English endings that are not spoken, but for -le, -ted and -ded."""
_SPOKEN: Final = ("le", "les", "ted", "ded", "ses", "ges", "ces", "zes", "ches", "shes", "xes")


def readability_of(sentences: Sequence[Sentence], language: str | None) -> float | None:
    """From 0 to 100; None for a language without a formula."""
    formula = FORMULAS.get(language or "")
    words = sum(len(sentence.words) for sentence in sentences)
    if formula is None or not words:
        return None
    constant, per_word, per_syllable = formula
    syllables = sum(_syllables(word, language) for sentence in sentences for word in sentence.words)
    score = constant - per_word * words / len(sentences) - per_syllable * syllables / words
    return round(max(0.0, min(100.0, score)), 1)


def _syllables(word: str, language: str | None) -> int:
    spoken = _SILENT.sub("", word) if language == "en" and not word.endswith(_SPOKEN) else word
    return max(1, len(_VOWELS.findall(spoken)))
