"""A provider's streamed reply as batches of events: passed on in the caller's format, or decoded.

Both forms see every event. What came before an error is given first, and the error is raised after it. A stream whose
bytes end without the provider's terminal event raises IncompleteStream, whatever the connection said.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from waypost.chat import Event, Failed, Finish, PartDelta, ResponseStart, Usage, UsageUpdate, is_token
from waypost.codecs.codec import Codec, Sight, StreamDecoder, StreamWatch
from waypost.codecs.custom_tools import CustomCalls
from waypost.codecs.estimate import estimate_text_tokens
from waypost.codecs.passing import PASSING
from waypost.codecs.said import said_tokens
from waypost.codecs.sse import Frame, SseDecoder
from waypost.errors import ProviderConnectionLost, ProviderError
from waypost.providers.answers import Batch, PassOn
from waypost.transport import Reply

SAMPLE_BYTES = 4096
"""So much of a stream is kept to tell its tokens by its length, should it be cut before the provider counts them."""
MOST_SAMPLE_BYTES = 64 * 1024
"""Of what came in one read with it, and of what came before the first content: decoders want a stream's beginning."""
MOST_BEGUN_BYTES = 4 * 1024
"""Of an event that has not come whole. Each piece joins it anew: a long one would take time squared in its length."""
_DRAIN_S = 0.5
"""How long the end of the body may take after the terminal event, so that the connection can be used again."""
_USAGE_UNASKED = b',"usage":null'
"""What OpenAI adds to each event once usage is asked for. Within a JSON string the quotes would be escaped."""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What is known of a stream from the start. `name_error` gives an error the provider's name and cleans it."""

    headers: Mapping[str, str]
    notes: tuple[str, ...]
    name_error: Callable[[ProviderError], None]


class WireStream(ABC):
    """See `providers.answers.AnswerStream`. It reads `reply` and never closes it."""

    def __init__(self, reply: Reply, about: StreamFacts) -> None:
        self.key_label: str | None = None
        self.usage = Usage()
        self.model = ""
        self.headers = about.headers
        self.on_end: Callable[[], None] = _nothing
        """See `answers.TellsEnd`."""
        self.notes = about.notes
        self._name_error = about.name_error
        self._reply = reply
        self._sse = SseDecoder()
        self._error: ProviderError | None = None
        self._ended = False
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        """The next batch; it has at least one event. Raises ProviderError."""
        # In one coroutine, since a slow stream comes through here with each event.
        try:
            while not self._over:
                if self._error is not None:
                    raise self._error
                if self._ended:
                    batch = await self._last()
                else:
                    try:
                        chunk = await self._next_chunk()
                    except ProviderConnectionLost as error:
                        batch = self._at_end(error)
                    else:
                        batch = self._batch(chunk) if chunk else self._at_end(None)
                if self._ended:
                    self.on_end()
                if batch is not None:
                    return batch
        except ProviderError as error:
            self._name_error(error)
            raise
        raise StopAsyncIteration

    def _next_chunk(self) -> Awaitable[bytes]:
        """The next bytes; empty at their end. Raises as `Reply.next_chunk`."""
        return self._reply.next_chunk()

    async def _last(self) -> Batch | None:
        self._over = True
        await _drain(self._reply)
        return self._tail()

    def _at_end(self, lost: ProviderConnectionLost | None) -> Batch | None:
        """A provider that has said it was finished owes nothing more: then a lost connection is no loss."""
        self._over = True
        try:
            return self._finished()
        except ProviderError as error:
            raise (lost or error) from None

    def _tail(self) -> Batch | None:
        """What is left to be told after the provider's terminal event."""
        return None

    def _frames(self, chunk: bytes) -> Sequence[Frame]:
        """The events that these bytes complete; an error after them goes to `_error`."""
        try:
            return self._sse.frames(chunk)
        except ProviderError:
            return ()
        finally:
            self._error = self._sse.error

    @abstractmethod
    def said_tokens(self) -> int:
        """See `answers.TellsEnd`."""

    @abstractmethod
    def _batch(self, chunk: bytes) -> Batch | None:
        """What these bytes say; an error among them goes to `_error`."""

    @abstractmethod
    def _finished(self) -> Batch | None:
        """What the end of the bytes still gives. Raises IncompleteStream."""


class PassedStream(WireStream):
    """The provider's own bytes, for a caller who speaks its format."""

    def __init__(self, reply: Reply, about: StreamFacts, codec: Codec, watch: StreamWatch, *, usage: bool) -> None:
        super().__init__(reply, about)
        self._watch = watch
        self._tell_usage = usage
        self._codec = codec
        self._decoder: StreamDecoder | None = None
        self._end_mark = PASSING[codec.name].end_mark
        self._has_finished = False
        self._token = False
        self._opening = b""
        """What came before the first content."""
        self._sample = b""
        """The first bytes with content, from which it is told how many tokens there are in all of them."""
        self._said_bytes = 0
        self._begun = b""
        """The beginning of an event that the decoder has not seen, so that events that are alike stay comparable."""

    def pass_on_by(self, send: PassOn) -> None:
        """See `answers.PassesOn`."""
        if self._watch.skims:
            self._reply.offer_to(lambda chunk: self._passed_on(chunk, send))

    def _passed_on(self, chunk: bytes, send: PassOn) -> bytes:
        """What is left of it: events that differ from one already read in their text alone are sent on."""
        if self._begun:
            chunk, self._begun = self._begun + chunk, b""
        if self._ended or not self._sse.between_events or not (chunk.isascii() or _is_utf8(chunk)):
            return chunk
        end = self._watch.skim(chunk, 0)
        if not end:
            return chunk
        raw = self._stripped(chunk[:end])
        if not send(raw):
            return chunk
        self._count(raw)
        rest = chunk[end:]
        return b"" if self._holds(rest) else rest

    def _holds(self, rest: bytes) -> bool:
        """Is it an event that has not come whole, and kept until it has? Then the next bytes begin where it does."""
        if not self._sse.between_events or len(rest) > MOST_BEGUN_BYTES or b"\n\n" in rest or b"\r" in rest:
            return False
        self._begun = rest
        return True

    async def _next_chunk(self) -> bytes:
        chunk = await self._reply.next_chunk()
        # At the end of the bytes, an event that was only begun is none.
        if self._begun and chunk:
            chunk, self._begun = self._begun + chunk, b""
        return chunk

    def said_tokens(self) -> int:
        """See `answers.TellsEnd`."""
        return said_tokens(self._codec, self._opening, self._sample, self._said_bytes)

    def _batch(self, chunk: bytes) -> Batch | None:
        # A run of events that differ in their text alone is passed over at once; any other is looked at by itself.
        skims = self._watch.skims and (chunk.isascii() or _is_utf8(chunk))
        start = self._watch.skim(chunk, 0) if skims and self._sse.between_events else 0
        if start == len(chunk):
            return self._made(chunk, token=True)
        self._token = start > 0
        passed = [chunk[:start]] if start else []
        while start < len(chunk) and self._error is None:
            end = self._watch.skim(chunk, start) if skims and self._sse.between_events else start
            if end > start:
                passed.append(chunk[start:end])
                self._token = True
            else:
                end = chunk.find(b"\n\n", start) + 2 if skims else 0
                if end == 1 and self._holds(chunk[start:]):
                    break
                end = end if end > 1 else len(chunk)
                self._see(self._frames(chunk[start:end]), passed)
            start = end
        self.usage, self.model = self._watch.usage, self._watch.model
        if not passed:
            return None
        return self._made(passed[0] if len(passed) == 1 else b"".join(passed), token=self._token)

    def _stripped(self, raw: bytes) -> bytes:
        return raw if self._tell_usage else raw.replace(_USAGE_UNASKED, b"")

    def _count(self, raw: bytes) -> None:
        """It holds content."""
        self._said_bytes += len(raw)
        if len(self._sample) < SAMPLE_BYTES:
            self._sample = (self._sample + raw)[:MOST_SAMPLE_BYTES]

    def _made(self, raw: bytes, *, token: bool) -> Batch:
        raw = self._stripped(raw)
        if token:
            self._count(raw)
        elif not self._said_bytes and len(self._opening) < MOST_SAMPLE_BYTES:
            self._opening += raw
        return Batch(raw=raw, token=token, decode=self._decoded, ends=self._ended)

    def _see(self, frames: Sequence[Frame], passed: list[bytes]) -> None:
        try:
            for frame in frames:
                # The members of Sight are singletons, and nearly every event is one of the first two.
                sight = Sight.NOTHING if frame.event is None else self._watch.see(frame.event)
                if sight is Sight.TOKEN:
                    self._token = True
                elif sight is not Sight.NOTHING:
                    self._token = self._token or bool(sight & Sight.TOKEN)
                    self._has_finished = self._has_finished or bool(sight & Sight.FINISHED)
                    if sight & Sight.USAGE_ONLY and not self._tell_usage:
                        continue
                passed.append(frame.raw)
                self._ended = self._ended or (self._has_finished and self._is_last(frame))
        except ProviderError as error:
            self._error = error

    def _is_last(self, frame: Frame) -> bool:
        """After it has finished: is nothing more to come? Some formats tell usage then, and end with a mark."""
        mark = self._end_mark
        return not mark or (frame.event is not None and frame.event.data == mark)

    def _finished(self) -> Batch | None:
        self._watch.finish()
        self.usage = self._watch.usage
        return self._tail()

    def _tail(self) -> Batch | None:
        """Where the stream is read as events, some formats' decoders tell the last of them at its end."""
        events = self._decoder.finish() if self._decoder is not None else ()
        return Batch(raw=b"", events=events) if events else None

    def _decoded(self, raw: bytes) -> Sequence[Event]:
        if self._decoder is None:
            self._decoder = self._codec.stream_decoder()
        return [event for wire_event in SseDecoder().feed(raw) for event in self._decoder.feed(wire_event)]


class DecodedStream(WireStream):
    """Canonical events, for everybody else."""

    def __init__(
        self, reply: Reply, about: StreamFacts, decoder: StreamDecoder, custom: CustomCalls | None = None
    ) -> None:
        super().__init__(reply, about)
        self._decoder = decoder
        self._custom = custom
        self._sample = ""
        """The first text, from which it is told how many tokens there are in all of it."""
        self._said_characters = 0

    def _batch(self, chunk: bytes) -> Batch | None:
        events: list[Event] = []
        for frame in self._frames(chunk):
            if frame.event is not None and not self._take(self._decoder.feed(frame.event), events):
                break
        return self._made(events)

    def said_tokens(self) -> int:
        """See `answers.TellsEnd`."""
        if not self._sample:
            return 0
        return -(-estimate_text_tokens(self._sample) * self._said_characters // len(self._sample))

    def _finished(self) -> Batch | None:
        events: list[Event] = []
        self._take(self._decoder.finish(), events)
        if self._error is not None:
            raise self._error
        return self._made(events)

    def _made(self, events: list[Event]) -> Batch | None:
        return Batch(events=events, token=any(map(is_token, events))) if events else None

    def _take(self, given: Sequence[Event], events: list[Event]) -> bool:
        """May more follow?"""
        for event in given:
            if isinstance(event, Failed):
                self._error = event.error
                return False
            if isinstance(event, Finish):
                self._ended = True
            elif isinstance(event, UsageUpdate):
                self.usage = self.usage.merge(event.usage)
            elif isinstance(event, ResponseStart):
                self.model = event.model
            elif isinstance(event, PartDelta):
                self._said_characters += len(event.text)
                if len(self._sample) < SAMPLE_BYTES:
                    self._sample += event.text
            if self._custom is None:
                events.append(event)
            else:
                events += self._custom.events(event)
        return True


def _nothing() -> None:
    """Nobody wants to know."""


async def _drain(reply: Reply) -> None:
    """Read the end of the body, so that the connection goes back to the pool; what fails here fails nobody."""
    if reply.has_come:
        return
    try:
        async with asyncio.timeout(_DRAIN_S):
            while await reply.next_chunk():
                pass
    except (TimeoutError, ProviderError):
        return


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
