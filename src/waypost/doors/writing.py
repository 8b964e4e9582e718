"""One stream, written in its caller's dialect: the provider's own bytes where they are that, else ours. No I/O.

The invariant: the dialect's terminal event is written only after the provider's. A stream that breaks ends with the
dialect's own error and nothing after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol, cast

from waypost.chat import Failed, Finish, Opaque, Part, PartStart, ResponseStart
from waypost.codecs.codec import Codec, Loss
from waypost.doors.beside import ProviderFields, beside, part_beside
from waypost.doors.signatures import Signatures
from waypost.errors import IncompleteStream, ProviderError, WaypostError
from waypost.gateway.served import ServedStream
from waypost.providers.answers import Batch
from waypost.providers.asked import Asked


class Dialect(Protocol):
    """How answers are written in one wire format."""

    @property
    def codec(self) -> Codec:
        """Both directions of the format."""

    @property
    def beside(self) -> Callable[[Asked], ProviderFields]:
        """What an answer in this format says besides, by the request."""

    @property
    def parts_beside(self) -> Mapping[type[Part], Opaque]:
        """The same for the parts of an answer, by their kind."""

    @property
    def error_after(self) -> Callable[[bytes, bytes], bytes]:
        """A stream's error event as it is after a provider's own bytes that our encoder has not seen."""


class Writing:
    """Give it every batch of the stream in `served`, then ask for the end; or for the error that breaks it."""

    __slots__ = ("_asked", "_dialect", "_encoder", "_signatures", "_unseen", "finished", "passed", "served")

    def __init__(self, dialect: Dialect, asked: Asked, signatures: Signatures | None = None) -> None:
        self.served: ServedStream | None = None
        """To be set before the first batch."""
        self.passed = True
        """Have all bytes so far been the provider's own?"""
        self.finished = False
        """Has the provider finished, as far as the batches that were translated tell?"""
        self._dialect = dialect
        self._asked = asked
        self._signatures = signatures
        include_usage = asked.written is None or asked.written.seen.include_usage
        self._encoder = dialect.codec.stream_encoder(include_usage=include_usage)
        self._unseen = b""
        """The provider's last bytes, which the encoder has not seen."""

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What could not be carried over so far."""
        return self._encoder.losses

    def write(self, batch: Batch) -> bytes:
        """The next bytes; may be empty."""
        if batch.raw is not None:
            self._unseen = batch.raw
            return batch.raw
        return self._translated(batch)

    def note_passed(self, raw: bytes) -> None:
        """The provider's own bytes were written past it, as they came."""
        self._unseen = raw

    def end(self) -> bytes:
        """What ends the stream. Raises IncompleteStream if the last event was no Finish."""
        if self.passed:
            return b""
        if not self.finished:
            raise IncompleteStream("The stream ended before the provider said that it was finished.")
        return self._encoder.finish()

    def broken(self, error: WaypostError) -> bytes:
        """The dialect's error event."""
        self._catch_up()
        # Decoders promise a ProviderError in Failed; encoders write any error of ours, such as the shutdown's.
        event = self._encoder.encode(Failed(cast("ProviderError", error)))
        return self._dialect.error_after(event, self._unseen) if self._unseen else event

    def _translated(self, batch: Batch) -> bytes:
        self._catch_up()
        written = []
        for event in batch.events:
            if isinstance(event, ResponseStart):
                fields = beside(event.provider_fields, self._dialect.beside(self._asked))
                model = event.model if self.served is None else self.served.model
                event = replace(event, model=model, provider_fields=fields)
            self.finished = isinstance(event, Finish)
            if self._signatures is not None:
                self._signatures.see(event)
            if type(event) is PartStart and self._dialect.parts_beside:
                event = replace(event, part=part_beside(event.part, self._dialect.parts_beside))
            written.append(self._encoder.encode(event))
        return b"".join(written)

    def _catch_up(self) -> None:
        """From here on we write ourselves: if it was the provider's own bytes before, the encoder must know them."""
        if self.passed and self.served is not None:
            for event in self.served.sent_events():
                self._encoder.encode(event)
                self._unseen = b""
        self.passed = False
