"""A watch over a stream that is passed on as it is, made of the format's own decoder, so that both always agree.

A format whose common event can be told to be sound without a decoder's work gives a subclass that does so; everything
else comes here. The invariant: what a subclass keeps from the decoder would change no later verdict of the decoder's.
"""

from __future__ import annotations

from collections.abc import Sequence

from waypost.chat import Event, Failed, Response, ResponseStart, Usage, UsageUpdate, is_token
from waypost.codecs.codec import ResponseSight, Sight, StreamDecoder
from waypost.codecs.sse import SseEvent

NOTHING, TOKEN, FINISHED = Sight.NOTHING, Sight.TOKEN, Sight.FINISHED


class DecoderWatch:
    """See `codecs.codec.StreamWatch`."""

    skims = False
    __slots__ = ("_decoder", "_told", "id", "model", "usage")

    def __init__(self, decoder: StreamDecoder) -> None:
        self._decoder = decoder
        self._told = False
        self.usage = Usage()
        self.model = ""
        self.id = ""

    def see(self, event: SseEvent) -> Sight:
        """What the event is. Raises the ProviderError it tells of, or MalformedResponse."""
        return self._note(self._decoder.feed(event))

    def skim(self, _stream: bytes, start: int) -> int:
        """See StreamWatch: every event is looked at."""
        return start

    def finish(self) -> None:
        """The end of the bytes. Raises IncompleteStream unless the provider had finished."""
        self._note(self._decoder.finish())

    def _note(self, events: Sequence[Event]) -> Sight:
        sight = NOTHING
        for event in events:
            if sight is NOTHING and is_token(event):
                sight = TOKEN
            elif isinstance(event, UsageUpdate):
                self.usage = self.usage.merge(event.usage)
            elif isinstance(event, ResponseStart):
                self.id, self.model = event.id, event.model
            elif isinstance(event, Failed):
                raise event.error
        if not self._told and self._decoder.finished:
            self._told = True
            sight |= FINISHED
        return sight


def sight_of(response: Response) -> ResponseSight:
    """What a decoded answer says for its record."""
    finish = response.choices[0].reason if response.choices else "other"
    return ResponseSight(response.id, response.model, response.usage, finish)
