"""A few members of a JSON document, read as its bytes pass: of the object, or of the objects of an array.

Everything else is passed over, so that a document of any size takes no more memory than the members that are wanted.
Bytes may be split anywhere. Nothing is checked: of what is no JSON, whatever looks like the members is given. The
invariant: no bytes raise anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Final

import msgspec

from waypost.chat import Json

LARGEST_BYTES: Final = 64 * 1024
"""A value that is longer is not kept."""
_LONGEST_NAME: Final = 64
_STRUCTURE: Final = re.compile(rb'["{}\[\]:,]')
_DEEPER: Final = re.compile(rb'["{}\[\]]')
"""What counts within a value that is passed over: a list of a million numbers is one step."""
_STRING_END: Final = re.compile(rb'["\\]')


class MemberReader:
    """One document's state. Of a member that comes several times, as in an array of objects, the last one counts."""

    def __init__(self, wanted: Set[str]) -> None:
        self._wanted = {name.encode(): name for name in wanted}
        self._found: dict[str, bytes] = {}
        self._depth = 0
        self._members_at = 1
        """The depth of the members: 2 where the document is an array of objects."""
        self._in_string = False
        self._escaped = False
        self._text: bytearray | None = None
        """The string that is read at the depth of the members and may be a name."""
        self._name: str | None = None
        self._value: bytearray | None = None

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        at = 0
        while at < len(data):
            at = self._string(data, at) if self._in_string else self._between(data, at)

    def found(self) -> Mapping[str, Json]:
        """The members that have come so far, but for those that cannot be read."""
        members: dict[str, Json] = {}
        for name, value in self._found.items():
            try:
                members[name] = msgspec.json.decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
        return members

    def _string(self, data: bytes, start: int) -> int:
        """Through a string; where it ends, or the bytes do."""
        at = start
        while at < len(data):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            mark = _STRING_END.search(data, at)
            if mark is None:
                at = len(data)
            elif mark.group() == b"\\":
                self._escaped = True
                at = mark.end()
            else:
                self._in_string = False
                self._keep(data[start : mark.end()])
                return mark.end()
        self._keep(data[start:])
        return at

    def _between(self, data: bytes, start: int) -> int:
        """To the next sign of structure, and over it."""
        pattern = _STRUCTURE if self._depth == self._members_at else _DEEPER
        mark = pattern.search(data, start)
        if mark is None:
            self._keep(data[start:])
            return len(data)
        sign, end = mark.group(), mark.end()
        if self._depth == self._members_at and sign in b":,}":
            self._keep(data[start : mark.start()])
            self._at_border(sign)
        else:
            if sign == b'"' and self._depth == self._members_at and self._value is None:
                self._text = bytearray()
            self._keep(data[start:end])
        self._in_string = sign == b'"'
        self._note_depth(sign)
        return end

    def _note_depth(self, sign: bytes) -> None:
        if sign in b"{[":
            if self._depth == 0:
                self._members_at = 1 if sign == b"{" else 2
            self._depth += 1
        elif sign in b"}]":
            self._depth -= 1

    def _at_border(self, sign: bytes) -> None:
        """A name, a member or the object has ended."""
        if sign == b":":
            if self._value is None and self._text is not None:
                self._name = self._wanted.get(bytes(self._text).strip().strip(b'"'))
                self._value = bytearray() if self._name is not None else None
                self._text = None
            return
        if self._name is not None and self._value:
            self._found[self._name] = bytes(self._value)
        self._name = self._value = self._text = None

    def _keep(self, data: bytes) -> None:
        if self._value is not None:
            self._value += data
            if len(self._value) > LARGEST_BYTES:
                self._name = self._value = None
        elif self._text is not None and len(self._text) <= _LONGEST_NAME:
            self._text += data[: _LONGEST_NAME + 1]
