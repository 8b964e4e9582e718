"""Does a content say what is quoted from it? Models copy wrongly, and a quote that is none must not look like one."""

from __future__ import annotations

import re
from typing import Final

_WORD: Final = re.compile(r"\w+")
_MARKS: Final = str.maketrans("“”„«»‘’‚\u00a0", '"""""\'\'\' ')  # noqa: RUF001 - typographic quotation marks


class Quotable:
    """A content that is asked for quotes. White space, quotation marks and case make no difference."""

    def __init__(self, text: str) -> None:
        self._text = _plain(text)
        self._words = frozenset(_WORD.findall(self._text))

    def has(self, passage: str) -> bool:
        """Is it there, word for word?"""
        plain = _plain(passage).strip(" .…\"'")
        return bool(plain) and plain in self._text

    def has_words(self, phrase: str) -> bool:
        """Is every word of it there, wherever?"""
        words = _WORD.findall(_plain(phrase))
        return bool(words) and self._words.issuperset(words)


def _plain(text: str) -> str:
    return " ".join(text.translate(_MARKS).lower().split())
