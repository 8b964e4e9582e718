"""A watch over a stream of chunks that is passed on as it is.

This is a hot path: a content delta of a known frame is compared with it, any other takes one typed decode. A chunk
that only adds content changes no verdict of the decoder's: it neither ends nor fails nor counts. So such a chunk of a
choice that has begun is not given to the decoder, which then holds none of the answer's text or sound.
"""

from __future__ import annotations

from typing import Final

import msgspec

from waypost.codecs.codec import Sight
from waypost.codecs.jsonbytes import JsonError, may_be_deep, parse_reply
from waypost.codecs.openai_chat.frame import Frame, frame_of
from waypost.codecs.openai_chat.stream import ChatStreamDecoder
from waypost.codecs.openai_chat.wire import Completion, PlainChoice, PlainChunk
from waypost.codecs.sse import SseEvent
from waypost.codecs.watch import NOTHING, TOKEN, DecoderWatch

_decode_plain: Final = msgspec.json.Decoder(PlainChunk).decode
_CHUNKS: Final = msgspec.json.Decoder(Completion)
MOST_FRAMES: Final = 8
"""How often one stream's frame is learned: some servers write the time into each chunk, so that no two are alike."""
_NOT_PLAIN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ChatWatch(DecoderWatch):
    """One stream's state. See `codecs.codec.StreamWatch`."""

    skims = True
    __slots__ = ("_begun", "_chat", "_frame", "_learn", "_tier")

    def __init__(self, choices: int) -> None:
        self._chat = ChatStreamDecoder(choices)
        super().__init__(self._chat)
        self._begun = self._chat.begun
        self._tier = self._chat.tier
        self._frame: Frame | None = None
        self._learn = MOST_FRAMES

    def see(self, event: SseEvent) -> Sight:
        """What the chunk is. Raises the ProviderError it tells of, or MalformedResponse."""
        data = event.data
        if self._frame is not None and self._frame.fits(data) and event.event != "error":
            return TOKEN
        try:
            chunk = _decode_plain(data)
        except _NOT_PLAIN:
            return self._see_other(event)
        if chunk.object == "error" or event.event == "error" or chunk.service_tier not in (None, self._tier):
            return self._see_other(event)
        if may_be_deep(data):
            return self._see_other(event)
        sight = NOTHING
        for choice in chunk.choices or ():
            if (choice.index or 0) not in self._begun:
                return self._see_other(event)
            if _has_content(choice):
                sight = TOKEN
        if sight is TOKEN and self._learn:
            self._note_frame(chunk, data)
        return sight

    def skim(self, stream: bytes, start: int) -> int:
        """See StreamWatch: the content deltas that are alike are passed over in one go."""
        return start if self._frame is None else self._frame.run_end(stream, start)

    def _note_frame(self, chunk: PlainChunk, data: bytes) -> None:
        choices = chunk.choices or ()
        content = choices[0].delta.content if len(choices) == 1 and choices[0].delta is not None else None
        if content:
            self._learn -= 1
            self._frame = frame_of(data, content) or self._frame

    def _see_other(self, event: SseEvent) -> Sight:
        sight = super().see(event)
        self._begun = self._chat.begun
        self._tier = self._chat.tier
        self._frame = None
        return Sight.USAGE_ONLY if sight is NOTHING and _only_counts(event.data) else sight


def _has_content(choice: PlainChoice) -> bool:
    delta = choice.delta
    if delta is None:
        return False
    return bool(
        delta.content
        or delta.reasoning_content
        or delta.reasoning
        or delta.tool_calls
        or delta.refusal
        or delta.audio is not None
    )


def _only_counts(data: bytes) -> bool:
    try:
        chunk = parse_reply(data, _CHUNKS)
    except JsonError:
        return False  # the end mark
    return chunk.usage is not None and not chunk.choices
