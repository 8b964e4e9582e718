"""Function calls and their results, both ways: ids, arguments, and the object that a result is wrapped in.

Gemini tells calls apart by name and order, and gives ids only sometimes; every other format wants one. So a call
without an id gets one made from its place, with a prefix by which it is known and left out on the way back. The
invariant: the same body gives the same ids, whole or streamed, and no made-up id is sent to Google.

`args` and `response` are protobuf Structs: whitespace and the form of numbers mean nothing there, so arguments are
compact JSON however they stood on the wire.
"""

from __future__ import annotations

import re
from typing import Final

from waypost.chat import Json
from waypost.codecs.gemini.wire import Members
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply

MADE_UP: Final = "gemini_call_"
_SEED_LENGTH: Final = 16
"""Of a response's id: all of a made-up id stays under the 40 characters that OpenAI takes."""


def compact(value: Json) -> str:
    """JSON text without whitespace."""
    return dump(value)[0].decode()


class CallIds:
    """The ids of calls and results, in the order in which they stand in one conversation or one answer."""

    __slots__ = ("_count", "_seed", "_unanswered")

    def __init__(self, seed: str = "") -> None:
        self._seed = re.sub(r"[^A-Za-z0-9_-]", "", seed)[-_SEED_LENGTH:]
        self._count = 0
        self._unanswered: list[tuple[str, str]] = []

    def of_call(self, given: str | None, name: str) -> str:
        """The id of the next call."""
        call_id = given or self._make()
        self._unanswered.append((call_id, name))
        return call_id

    def of_result(self, given: str | None, name: str) -> str:
        """The id of the call that a result answers: the one it names, else the first by its function's name."""
        for call in self._unanswered:
            if call[0] == given or (not given and call[1] == name):
                self._unanswered.remove(call)
                return call[0]
        return given or self._make()

    def _make(self) -> str:
        self._count += 1
        return f"{MADE_UP}{self._seed}_{self._count}" if self._seed else f"{MADE_UP}{self._count}"


def wire_id(call_id: str) -> Members:
    """The `id` member, if it is one that Google or the caller gave."""
    return {} if not call_id or call_id.startswith(MADE_UP) else {"id": call_id}


_OUTPUT: Final = "output"
_ERROR: Final = "error"
"""The keys that Google names for a function's output and its failure. Source: Gemini API, FunctionResponse."""


def decode_result(response: Members) -> tuple[str | None, bool]:
    """The text of a result (None: nothing was given back), and whether it tells of a failure."""
    if not response:
        return None, False
    failed = response.keys() == {_ERROR}
    value = response[_ERROR] if failed else response[_OUTPUT] if response.keys() == {_OUTPUT} else response
    text = value if isinstance(value, str) else compact(value)
    return (text or None if failed else text), failed


def encode_result(text: str | None, *, is_error: bool) -> Members:
    """The `response` object. JSON text goes in as the value it stands for, so that the model reads its members."""
    value = _json_value(text)
    if is_error:
        return {_ERROR: "" if text is None else value}
    if text is None:
        return {}
    if isinstance(value, dict) and value and value.keys() not in ({_ERROR}, {_OUTPUT}):
        return value
    return {_OUTPUT: value}


def _json_value(text: str | None) -> Json:
    """The value whose JSON text this is; the text itself if it is none, or is JSON that would be written otherwise."""
    try:
        value = parse_reply((text or "").encode())
    except (JsonError, UnicodeEncodeError):
        return text
    if isinstance(value, dict | list):
        return value
    return text if isinstance(value, str) or compact(value) != text else value
