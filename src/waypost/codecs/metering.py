"""What a reply costs, told from its bytes while they are passed through as they are.

A meter looks at copies: it changes nothing, keeps no more than a sample and the event that is not whole yet, and
whatever the bytes are, it raises nothing. What it does not understand it does not count.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Protocol

from waypost.chat import Usage
from waypost.codecs.codec import Codec, Sight
from waypost.codecs.estimate import estimate_text_tokens
from waypost.codecs.members import MemberReader
from waypost.codecs.passing import PASSING
from waypost.codecs.reply_usage import UsageReader
from waypost.codecs.said import said_tokens
from waypost.codecs.sse import SseDecoder, SseEvent
from waypost.errors import IncompleteStream, MalformedResponse, ProviderError

SAMPLE_BYTES: Final = 4096
"""So much of a stream is kept to tell its tokens by its length, if the provider does not count them."""
MOST_SAMPLE_BYTES: Final = 64 * 1024
logger = logging.getLogger("waypost.codecs")


class Meter(Protocol):
    """One reply's."""

    ended: bool
    """Has the provider finished, so that nothing of it is to come?"""
    error: ProviderError | None
    """What the provider said within the reply that it failed with, or that it broke off."""

    @property
    def usage(self) -> Usage:
        """Counts so far."""

    @property
    def model(self) -> str:
        """The model that answers; empty until it was told."""

    def feed(self, data: bytes) -> None:
        """The next bytes."""

    def finish(self) -> None:
        """That was all."""

    def said_tokens(self) -> int:
        """About how many tokens it has given so far, as we would count them."""


class NoMeter:
    """For what says nothing that could be counted, such as sound."""

    ended = False
    error: ProviderError | None = None

    @property
    def usage(self) -> Usage:
        """See `Meter`."""
        return Usage()

    @property
    def model(self) -> str:
        """See `Meter`."""
        return ""

    def feed(self, data: bytes) -> None:
        """See `Meter`."""

    def finish(self) -> None:
        """See `Meter`."""

    def said_tokens(self) -> int:
        """See `Meter`."""
        return 0


class JsonMeter(NoMeter):
    """A whole reply in JSON, or a stream as one array."""

    def __init__(self, reader: UsageReader) -> None:
        self._reader = reader
        self._members = MemberReader(reader.members)

    @property
    def usage(self) -> Usage:
        """Counts so far."""
        return self._reader.usage_of(self._members.found())

    @property
    def model(self) -> str:
        """The model that answered."""
        return self._reader.model_of(self._members.found())

    def feed(self, data: bytes) -> None:
        """See `Meter`."""
        self._members.feed(data)


class _EventMeter(ABC):
    """A reply of server-sent events. After an error of the stream it is no longer looked at."""

    def __init__(self) -> None:
        self.ended = False
        self.error: ProviderError | None = None
        self.usage = Usage()
        self.model = ""
        self._sse = SseDecoder()
        self._off = False

    def feed(self, data: bytes) -> None:
        """See `Meter`."""
        if self._off:
            return
        try:
            self._see(self._sse.feed(data), data)
        except ProviderError as error:
            self._turn_off(error)
        except Exception:
            # A defect of a reader of ours is to cost its caller nothing: the reply is not ours.
            logger.exception("a reply that is passed through is not metered further")
            self._off = True

    def finish(self) -> None:
        """See `Meter`."""
        if self._off or self.ended:
            return
        try:
            self._finish()
        except ProviderError as error:
            self._turn_off(error)

    def _turn_off(self, error: ProviderError) -> None:
        self._off = True
        # What we do not understand others may.
        if isinstance(error, IncompleteStream) or not isinstance(error, MalformedResponse):
            self.error = error

    @abstractmethod
    def said_tokens(self) -> int:
        """See `Meter`."""

    @abstractmethod
    def _see(self, events: Sequence[SseEvent], data: bytes) -> None:
        """The events that these bytes complete. Raises ProviderError."""

    @abstractmethod
    def _finish(self) -> None:
        """The end of the bytes. Raises ProviderError."""


class ConversationMeter(_EventMeter):
    """A stream in one of the formats that have a codec, of so many choices."""

    def __init__(self, codec: Codec, choices: int) -> None:
        super().__init__()
        self._codec = codec
        self._watch = codec.stream_watch(choices=choices)
        self._end_mark = PASSING[codec.name].end_mark
        self._has_finished = False
        self._opening = b""
        self._sample = b""
        self._said_bytes = 0

    def said_tokens(self) -> int:
        """See `Meter`."""
        return said_tokens(self._codec, self._opening, self._sample, self._said_bytes)

    def _see(self, events: Sequence[SseEvent], data: bytes) -> None:
        token = False
        try:
            for event in events:
                sight = self._watch.see(event)
                token = token or bool(sight & Sight.TOKEN)
                self._has_finished = self._has_finished or bool(sight & Sight.FINISHED)
                is_last = not self._end_mark or event.data == self._end_mark
                self.ended = self.ended or (self._has_finished and is_last)
        finally:
            self.usage, self.model = self._watch.usage, self._watch.model
            self._note(data, token=token)

    def _finish(self) -> None:
        try:
            self._watch.finish()
        finally:
            self.usage = self._watch.usage

    def _note(self, data: bytes, *, token: bool) -> None:
        if token:
            self._said_bytes += len(data)
            if len(self._sample) < SAMPLE_BYTES:
                self._sample = (self._sample + data)[:MOST_SAMPLE_BYTES]
        elif not self._said_bytes and len(self._opening) < MOST_SAMPLE_BYTES:
            self._opening += data


class CountMeter(_EventMeter):
    """A stream whose events say counts as a whole reply of theirs would, and may bring text in `choices`."""

    def __init__(self, reader: UsageReader) -> None:
        super().__init__()
        self._reader = reader
        self._sample = ""
        self._said_characters = 0

    def said_tokens(self) -> int:
        """See `Meter`."""
        if not self._sample:
            return 0
        return -(-estimate_text_tokens(self._sample) * self._said_characters // len(self._sample))

    def _see(self, events: Sequence[SseEvent], data: bytes) -> None:  # noqa: ARG002 - the events are all there is
        for event in events:
            members = MemberReader(self._reader.members | {"choices"})
            members.feed(event.data)
            found = members.found()
            self.usage = self.usage.merge(self._reader.usage_of(found))
            self.model = self._reader.model_of(found) or self.model
            for choice in found.get("choices") or ():
                text = choice.get("text") if isinstance(choice, dict) else None
                self._say(text if isinstance(text, str) else "")

    def _finish(self) -> None:
        """Such streams have no end that could be missed."""

    def _say(self, text: str) -> None:
        self._said_characters += len(text)
        if len(self._sample) < SAMPLE_BYTES:
            self._sample += text[:SAMPLE_BYTES]
