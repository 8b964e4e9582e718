"""From what a model wrote to JSON objects: exactly as it stands if it is one, else what may be meant.

Models write around their JSON, fence it, leave a comma too many, break lines within strings, or are cut off. What is
found is mended only where nothing is guessed: no value is made up, one that was cut off is left out. Work is linear
in the text, depth is bounded, and what comes out is plain JSON: finite numbers, text that UTF-8 and databases hold.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

MOST_ANSWER_CHARACTERS: Final = 1_000_000
MOST_DEPTH: Final = 64
MOST_TRIES: Final = 8
"""Places where an object may begin that are tried."""
_FENCE: Final = re.compile(r"```[A-Za-z0-9_-]*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_THOUGHTS: Final = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_UNHOLDABLE: Final = re.compile("[\x00\ud800-\udfff]")
"""A null character, and halves of characters that lack the other: JSON can write them, databases cannot hold them."""
_BARE_CONTROLS: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


class NoAnswer(ValueError):
    """There is no JSON object in the text. The message tells a model what was wrong."""


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """The objects that the text is or has in it, as plain JSON, the likeliest first and those within it later.

    Raises NoAnswer if there is none.
    """
    if len(text) > MOST_ANSWER_CHARACTERS:
        raise NoAnswer(f"The answer is longer than {MOST_ANSWER_CHARACTERS} characters.")
    found = False
    for candidate in islice(_candidates(text), MOST_TRIES):
        value = _read(candidate)
        if isinstance(value, dict):
            found = True
            yield _plain(value)
    if not found:
        raise NoAnswer("There is no JSON object in the answer.")


def _candidates(text: str) -> Iterator[str]:
    """Texts that may be the object, the likeliest first."""
    yield text
    said = _THOUGHTS.sub("", text)
    for fenced in _FENCE.finditer(said):
        start = fenced[1].find("{")
        if start >= 0:
            yield mended(fenced[1][start:])
    start = said.find("{")
    while start >= 0:
        yield mended(said[start:])
        start = said.find("{", start + 1)


def _read(text: str) -> Any:
    try:
        return json.loads(text.strip().removeprefix("\ufeff"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _plain(value: Any, depth: int = 0) -> Any:
    """Without what JSON or a database cannot hold. Raises NoAnswer for too deep a value or too large a number."""
    if depth > MOST_DEPTH:
        raise NoAnswer(f"The answer is nested deeper than {MOST_DEPTH} levels.")
    if isinstance(value, dict):
        return {_plain(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, str):
        return _UNHOLDABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, float) and not math.isfinite(value):
        raise NoAnswer("A number in the answer is too large.")
    return value


def mended(text: str) -> str:
    """The JSON value at the start of the text, ended where it ends or where the text was cut off."""
    mender = _Mender()
    for character in text:
        if mender.take(character):
            break
    return mender.text()


class _Mender:
    """Takes the characters of one JSON value, the first of which is its opening bracket."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._closers: list[str] = []
        self._in_string = False
        self._escaped = False
        self._has_comma = False
        """Is there a comma that is only written if something follows?"""
        self._kept: tuple[int, list[str]] = (0, [])
        """How much is whole so far, and what closes it: up to before the last comma or after the last bracket."""
        self._is_whole = False

    def take(self, character: str) -> bool:
        """Take one more; True after the last one of the value, or where it is nested too deep."""
        if self._in_string:
            self._take_in_string(character)
        elif character == ",":
            self._mark()
            self._has_comma = True
        elif character in "]}":
            self._close(character)
        elif character.isspace():
            self._out.append(" ")
        else:
            self._take_token(character)
        return self._is_whole or len(self._closers) > MOST_DEPTH

    def text(self) -> str:
        """What was taken, as JSON."""
        if self._is_whole:
            return "".join(self._out)
        length, closers = self._kept
        return "".join(self._out[:length]) + "".join(reversed(closers))

    def _take_in_string(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif character == "\\":
            self._escaped = True
        elif character == '"':
            self._in_string = False
        self._out.append(_BARE_CONTROLS.get(character, character))

    def _take_token(self, character: str) -> None:
        if self._has_comma:
            self._out.append(",")
            self._has_comma = False
        self._out.append(character)
        if character == '"':
            self._in_string = True
        elif character in "{[":
            self._closers.append("}" if character == "{" else "]")
            self._mark()

    def _close(self, character: str) -> None:
        self._has_comma = False
        if self._closers and self._closers[-1] == character:
            self._closers.pop()
        self._out.append(character)
        self._mark()
        self._is_whole = not self._closers

    def _mark(self) -> None:
        if len(self._closers) <= MOST_DEPTH:
            self._kept = (len(self._out), list(self._closers))
