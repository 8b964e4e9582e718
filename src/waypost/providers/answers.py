"""What providers give back: a whole answer, or batches of a stream's events.

Either is in one of two forms. In the caller's own wire format it is bytes to pass on, framed and checked, and decoded
only if somebody asks; in another it is canonical values. Policies and records treat both alike.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias, TypeGuard

from waypost.chat import Event, Response, Usage


class Answer:
    """A whole answer. `body` is None where it exists in canonical form only."""

    __slots__ = ("_decode", "_response", "body", "headers", "key_label", "model", "notes", "usage")

    def __init__(
        self,
        model: str,
        usage: Usage,
        *,
        response: Response | None = None,
        body: bytes | None = None,
        decode: Callable[[bytes], Response] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.model = model
        self.usage = usage
        self.body = body
        self.headers = headers or {}
        """Those of the provider's reply that a caller may see."""
        self.notes: tuple[str, ...] = response.notes if response else ()
        self.key_label: str | None = None
        """Which of the provider's keys went with the call, where there are several."""
        self._response = response
        self._decode = decode

    @classmethod
    def of(cls, response: Response, headers: Mapping[str, str] | None = None) -> Answer:
        """An answer in canonical form."""
        return cls(response.model, response.usage, response=response, headers=headers)

    @property
    def response(self) -> Response:
        """The canonical form. Raises MalformedResponse."""
        if self._response is None:
            if self._decode is None or self.body is None:
                raise TypeError("an answer is given in canonical form, or with the means to decode it")
            self._response = self._decode(self.body)
        return self._response


class Batch:
    """The events that one read of the network completed. `raw` is what to pass on; None: only canonical events.

    `ends`: are they the stream's last, as far as its reader can tell? `token`: is there content among them? `decode`
    gives the events of bytes of this stream, in their order and each once: of this batch's, or of those of several
    batches together.
    """

    __slots__ = ("_events", "decode", "ends", "raw", "token")

    def __init__(
        self,
        *,
        raw: bytes | None = None,
        token: bool = False,
        events: Sequence[Event] | None = None,
        decode: Callable[[bytes], Sequence[Event]] | None = None,
        ends: bool = False,
    ) -> None:
        self.raw = raw
        self.ends = ends
        self.token = token
        self.decode = decode
        self._events = events

    @property
    def events(self) -> Sequence[Event]:
        """The canonical events. A stream's batches are decoded in their order."""
        if self._events is None:
            self._events = self.decode(self.raw) if self.decode and self.raw is not None else ()
        return self._events


class AnswerStream(Protocol):
    """A stream under way. Its batches end when the provider has finished, or it raises a ProviderError.

    What is known of the whole stream so far: `usage`, `model` as the provider names it ("" if not yet told), `notes`
    of what of the request could not be carried, the reply's `headers` that a caller may see, and the `key_label` of
    the provider's key that went with the call, where there are several.
    """

    key_label: str | None
    notes: tuple[str, ...]
    headers: Mapping[str, str]

    @property
    def usage(self) -> Usage:
        """Counts so far."""

    @property
    def model(self) -> str:
        """The model, as the provider names it."""

    def __aiter__(self) -> AsyncIterator[Batch]:
        """The batches; to be read once."""


class TellsEnd(Protocol):
    """A stream that says when its provider has finished, before it gives the batch that shows it."""

    on_end: Callable[[], None]

    def said_tokens(self) -> int:
        """About how many tokens it has given so far, as we would count them."""


PassOn: TypeAlias = Callable[[bytes], bool]
"""Sends bytes of whole events on to the caller. False: it cannot now, and has not."""


def tells_end(stream: AnswerStream) -> TypeGuard[TellsEnd]:
    """Is it one? Asked of every stream, and an isinstance of a protocol takes as long as a call of the journal."""
    return hasattr(stream, "on_end")


class PassesOn(Protocol):
    """A stream that may send on by itself, the moment it comes, what is nothing but text of its caller's format.

    Waking a task for each event of a slow stream costs more than all that is done with it.
    """

    def pass_on_by(self, send: PassOn) -> None:
        """From now on, while somebody waits for the next batch: such bytes go to `send` and are in no batch."""


def passes_on(stream: AnswerStream) -> TypeGuard[PassesOn]:
    """Is it one? Asked of every stream too."""
    return hasattr(stream, "pass_on_by")


StreamOpening = AbstractAsyncContextManager[AnswerStream]
"""`async with provider.stream(asked, model) as stream`: leaving the block ends the call, finished or not."""
