"""What the content chunks of one stream have alike around their text, so that most need not be read as JSON at all.

A stream repeats all bytes of a chunk but the content (and OpenAI's padding, which is last). The invariant: what `fits`
is sound JSON that differs from a chunk known to be plain in its content alone, since a text without quotes, backslashes
and control characters is a JSON string as it stands. The bytes must be UTF-8 already, as those of an SseEvent are.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Final

import msgspec

from waypost.codecs.openai_chat.wire import PlainChunk

_text: Final = re.compile(rb'[^"\\\x00-\x1f]+').match
_unplain: Final = re.compile(rb'["\\\x00-\x1f]').search
_string: Final = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt])++').fullmatch
_padding: Final = re.compile(rb'[A-Za-z0-9]*"\}').fullmatch
_PADDING_BEGINS: Final = b'"obfuscation":"'
_OTHER_TEXT: Final = b"another text"
_decode: Final = msgspec.json.Decoder(PlainChunk).decode


class Frame:
    """The bytes before and after the text. `padded`: is what follows the text ended by padding of any length?"""

    __slots__ = ("_after", "_before", "_head", "_joint", "_padded", "_size", "_tail")

    def __init__(self, before: bytes, after: bytes, *, padded: bool) -> None:
        self._before = before
        self._after = after
        self._padded = padded
        self._size = len(before)
        self._head = b"data: " + before
        self._tail = after + b"\n\n"
        self._joint = self._tail + self._head

    def run_end(self, stream: bytes, start: int) -> int:
        """Where the events end that follow each other from `start` on and are this frame with some text in it.

        `stream` is UTF-8, and `start` is where an event begins; if it is none of this frame, the answer is `start`.
        """
        if self._padded or not stream.startswith(self._head, start):
            return start
        text = _text(stream, start + len(self._head))
        if text is not None and stream.endswith(self._tail, end := text.end()) and len(stream) == end + len(self._tail):
            # One event by itself, as they come from a provider that writes as it thinks.
            return len(stream)
        last = stream.rfind(self._tail, start)
        if last < 0:
            return start
        run = stream[start + len(self._head) : last]
        texts = self._texts(run)
        # Between two joints there are only texts, if nothing in them ends a string or begins an escape.
        if b"" not in texts and _unplain(b"".join(texts)) is None:
            return last + len(self._tail)
        sound = list(takewhile(_string, texts))
        return start + sum(map(len, sound)) + len(sound) * len(self._joint)

    def _texts(self, run: bytes) -> list[bytes]:
        """What stands between the joints.

        Looking for something as long as a joint takes several times as long as guessing where it stands by the line
        ends, and comparing.
        """
        lines = run.split(b"\n")
        before, after = len(self._head), len(self._after)
        texts = [line[before:-after] for line in lines[::2]]
        if len(texts) == 1:
            return run.split(self._joint)
        texts[0], texts[-1] = lines[0][:-after], lines[-1][before:]
        return texts if self._joint.join(texts) == run else run.split(self._joint)

    def fits(self, data: bytes) -> bool:
        """Is it this frame with some text in it?"""
        if not data.startswith(self._before):
            return False
        text = _text(data, self._size)
        if text is None or not data.startswith(self._after, end := text.end()):
            return False
        end += len(self._after)
        return _padding(data, end) is not None if self._padded else end == len(data)


def frame_of(data: bytes, content: str) -> Frame | None:
    """The frame of a plain chunk with that content; None if it is not one text in plain sight."""
    before, found, after = data.partition(b'"' + content.encode() + b'"')
    if not found:
        return None
    before, after = before + b'"', b'"' + after
    if not _holds_content(before, after):
        return None
    head, padding, rest = after.rpartition(_PADDING_BEGINS)
    if padding and _padding(rest) is not None and _holds_content(before, head + padding + b'"}'):
        return Frame(before, head + padding, padded=True)
    return Frame(before, after, padded=False)


def _holds_content(before: bytes, after: bytes) -> bool:
    """Is what stands between them the content, and all of it?"""
    try:
        choices = _decode(before + _OTHER_TEXT + after).choices
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return any(choice.delta is not None and choice.delta.content == _OTHER_TEXT.decode() for choice in choices or ())
