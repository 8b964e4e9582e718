"""A text as paragraphs, sentences and words, with where each stands. Pure, in time linear in the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from typing import Final


def word_list(name: str) -> frozenset[str]:
    """A list of `word_lists.json`, in small letters."""
    text = files("waypost.analysis.offline").joinpath("word_lists.json").read_text(encoding="utf-8")
    return frozenset(json.loads(text)[name])


WORD: Final = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")  # noqa: RUF001 - the typographic apostrophe
"""Letters, with apostrophes and hyphens inside."""
_PARAGRAPH_BREAK: Final = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE_END: Final = re.compile(
    r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s|$)|[。！？]|\n(?=\s*+(?:[-*#•]|\d++[.)]\s))"  # noqa: RUF001 - full-width marks
)
"""Possessive, and only from the first mark of a run on: thousands of dots in a row are looked at once."""
_ABBREVIATIONS: Final = word_list("abbreviations")
"""What a full stop may end without ending a sentence."""

_ORDINAL_DIGITS: Final = 2
"""A longer number before a full stop is a year or an amount, which ends a sentence."""
FORMULAS: Final = tuple(word_list("formulas"))
"""How letters begin and end."""
_FORMULA_WORDS: Final = 6


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as it stands in the text, without white space around it, and its words in small letters."""

    text: str
    words: tuple[str, ...]

    @property
    def said(self) -> Sentence:
        """Without how a letter begins, where the rest of the sentence follows."""
        joined = f"{' '.join(self.words)} "
        greeting = max((each for each in FORMULAS if joined.startswith(each)), key=len, default="")
        number = len(greeting.split())
        if not number or number == len(self.words):
            return self
        matches = list(islice(WORD.finditer(self.text), number))
        return Sentence(self.text[matches[-1].end() :], self.words[number:])

    @property
    def is_formula(self) -> bool:
        """Is it how a letter begins or ends? Nobody means what it says."""
        return len(self.words) <= _FORMULA_WORDS and f"{' '.join(self.words)} ".startswith(FORMULAS)


def paragraphs_of(text: str) -> list[str]:
    """What empty lines part, without empty ones."""
    return [part for part in (piece.strip() for piece in _PARAGRAPH_BREAK.split(text)) if part]


def sentences_of(text: str) -> list[Sentence]:
    """The sentences of all paragraphs, in order; a heading or a list's entry is one."""
    return [sentence for paragraph in paragraphs_of(text) for sentence in _in_paragraph(paragraph)]


def words_of(text: str) -> list[str]:
    """The words in small letters."""
    return [match.group().lower() for match in WORD.finditer(text)]


def _in_paragraph(paragraph: str) -> Iterator[Sentence]:
    start = 0
    for match in _SENTENCE_END.finditer(paragraph):
        if not _goes_on(paragraph, match):
            yield from _sentence(paragraph[start : match.end()])
            start = match.end()
    yield from _sentence(paragraph[start:])


def _goes_on(paragraph: str, match: re.Match[str]) -> bool:
    """Does the full stop belong to an abbreviation, an initial or a number such as "3. November"?"""
    if match.group() != ".":
        return False
    before = paragraph[max(0, match.start() - 12) : match.start()].rsplit(None, 1)
    word = before[-1].lower().lstrip("(\"'“„") if before else ""
    after = paragraph[match.end() : match.end() + 2].strip()[:1]
    is_ordinal = word.isdigit() and len(word) <= _ORDINAL_DIGITS and after.isalpha()
    return word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha()) or is_ordinal


def _sentence(piece: str) -> Iterator[Sentence]:
    text = piece.strip()
    words = tuple(words_of(text))
    if words:
        yield Sentence(text, words)
