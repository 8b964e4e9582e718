"""Results of the built-in kind for several parts made one by rule, where no model joined them. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from waypost.analysis.kinds import MOST_SUGGESTIONS, MOST_THEMES
from waypost.analysis.offline.phrases import NO_THEMES
from waypost.analysis.offline.words import FORMULAS
from waypost.analysis.quotes import Quotable

MOST_REASONS: Final = 6
CLEAR: Final = 0.15
"""A mean score below it, either way, is neutral."""
_LABEL: Final = re.compile(
    r"^(?:(?:themes?|topics?|subject|description|betreff)\s*\d*\s*[:.)-]|\d+\s*[.)]|[-*•])\s*", re.IGNORECASE
)
"""What small models put before a theme."""


def joined(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One result of those of several parts: only the fields that one of them has."""
    rules: dict[str, Callable[[list[Any]], Any]] = {
        "themes": lambda held: most_named(held, MOST_THEMES),
        "topics": lambda held: most_named(held, MOST_THEMES),
        "sentiment": _sentiment,
        "quality": _quality,
        "suggestions": lambda held: [item for items in _turns(held) for item in items][:MOST_SUGGESTIONS],
        "language": lambda held: Counter(held).most_common(1)[0][0],
    }
    held = {name: [value[name] for value in values if name in value] for name in rules}
    return {name: rules[name](found) for name, found in held.items() if found}


def most_named(lists: Iterable[Sequence[str]], most: int) -> list[str]:
    """The texts that most lists have, in the order of their first mention; case makes no difference."""
    shown: dict[str, str] = {}
    number = Counter[str]()
    for texts in lists:
        for text in texts:
            shown.setdefault(text.casefold(), text)
        number.update({text.casefold() for text in texts})
    order = list(shown)
    return [shown[key] for key in sorted(order, key=lambda key: (-number[key], order.index(key)))[:most]]


def grounded(themes: Iterable[str], content: Quotable) -> list[str]:
    """The themes of a small model that the content speaks of, without what was put before them, each once.

    One that repeats a word, or names nothing but how letters begin, is none.
    """
    cleaned = dict.fromkeys(_LABEL.sub("", theme).strip(" .:;,\"'") for theme in themes)
    kept: dict[str, str] = {}
    for theme in cleaned:
        words = theme.lower().split()
        names_something = not NO_THEMES.issuperset(words) and not f"{' '.join(words)} ".startswith(FORMULAS)
        if len(theme) > 2 and len(set(words)) == len(words) and names_something and content.has_words(theme):
            kept.setdefault(theme.casefold(), theme)
    return list(kept.values())


def agreed(offline: Sequence[str], model: Sequence[str], most: int) -> list[str]:
    """Themes of both: first the offline ones that a small model names too, then the others, then the model's own."""
    named = {word for theme in model for word in theme.casefold().split()}
    both = [theme for theme in offline if named.intersection(theme.casefold().split())]
    said = {word for theme in both for word in theme.casefold().split()}
    own = [theme for theme in model if not said.intersection(theme.casefold().split())]
    return [*both, *(theme for theme in offline if theme not in both), *own][:most]


def _sentiment(held: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mean = sum(each["score"] for each in held) / len(held)
    labels = {each["label"] for each in held}
    if "mixed" in labels or {"positive", "negative"} <= labels:
        label = "mixed"
    else:
        label = "neutral" if abs(mean) < CLEAR else "positive" if mean > 0 else "negative"
    return {"label": label, "score": round(mean, 3)}


def _quality(held: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    score = round(sum(each["score"] for each in held) / len(held))
    return {"score": score, "reasons": most_named([each["reasons"] for each in held], MOST_REASONS)}


def _turns(held: Sequence[Sequence[Any]]) -> Iterable[list[Any]]:
    """First the first of each, then the second of each, and so on."""
    return ([items[at] for items in held if at < len(items)] for at in range(max(map(len, held), default=0)))
