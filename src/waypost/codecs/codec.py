"""What a wire format's codec offers: both directions of requests, answers, stream events and errors, without I/O.

The front door decodes requests and encodes answers; the provider client does the reverse; the simulator is a
front door again. What a format cannot carry is reported as a `Loss`, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple, Protocol

from waypost.chat import EmbeddingRequest, EmbeddingResponse, Event, FinishReason, Request, Response, Usage
from waypost.chat.embedding import Encoding
from waypost.codecs.sse import SseEvent
from waypost.errors import ProviderError, WaypostError


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that was not carried over. `what` names the canonical field or part, `why` is a short sentence."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True, slots=True)
class DecodedRequest:
    """A request from the wire, with what belongs to its transfer rather than its meaning."""

    request: Request
    stream: bool = False
    include_usage: bool = True
    """Did the caller ask for usage in the stream? Only OpenAI's chat format lets one choose."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Wire bytes and what they could not carry."""

    body: bytes
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error in a wire format: HTTP status, extra headers, JSON body."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Sight(IntFlag):
    """What one event of a stream is to whoever passes it on. Members are singletons: on a hot path compare by `is`."""

    NOTHING = 0
    TOKEN = 1
    """It brings content of any kind; see `waypost.chat.is_token`."""
    FINISHED = 2
    """With it the provider has finished; counts and an end mark may still come."""
    USAGE_ONLY = 4
    """It is there only because counts were asked for."""


class ResponseSight(NamedTuple):
    """What a whole answer that is passed on as it is says for its record; `finish` is the first choice's reason."""

    id: str
    model: str
    usage: Usage
    finish: FinishReason


class StreamDecoder(Protocol):
    """Wire events in, canonical events out. Holds one stream's state; no I/O, no clock.

    Malformed input and in-band errors come out as `Failed`, after which it gives nothing more.
    """

    def feed(self, event: SseEvent) -> Sequence[Event]:
        """The canonical events that this wire event completes; most often one."""

    def finish(self) -> Sequence[Event]:
        """The end of the bytes: the remaining events if the provider had finished, else Failed(IncompleteStream)."""

    @property
    def finished(self) -> bool:
        """Has the provider said that it is finished? Then `finish` gives no failure if nothing more comes."""


class StreamWatch(Protocol):
    """Sees each event of a stream that is passed on as it is. Holds one stream's state; no I/O, no clock.

    The law: it agrees with the format's StreamDecoder on what is content, on the end, on errors and on the counts.
    """

    skims: bool
    """Does `skim` ever pass over anything?"""

    def skim(self, stream: bytes, start: int) -> int:
        """Where the whole events from `start` on end that are sound and bring content alone; `start` if none is.

        `stream` is UTF-8, and an event begins at `start`. What lies between was seen.
        """

    def see(self, event: SseEvent) -> Sight:
        """What the event is. Raises MalformedResponse, or the ProviderError that the event tells of."""

    def finish(self) -> None:
        """The end of the bytes. Raises IncompleteStream unless the provider had finished."""

    @property
    def usage(self) -> Usage:
        """Counts so far."""

    @property
    def model(self) -> str:
        """The model that answers, in the provider's words; empty until it was told."""

    @property
    def id(self) -> str:
        """The answer's id; empty until it was told."""


class StreamEncoder(Protocol):
    """Canonical events in, wire bytes out (whole SSE events). Holds one stream's state."""

    def encode(self, event: Event) -> bytes:
        """The bytes to send for this event; may be empty. The terminal marker is written at the last Finish only."""

    def finish(self) -> bytes:
        """The bytes that end the stream, once every Finish was given. Must not be called after Failed."""

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What could not be carried over so far."""


class Codec(Protocol):
    """One wire format."""

    name: str
    """For instance "openai_chat"."""
    family: str
    """The key of this format's data in `opaque` and `provider_options`, for instance "openai".

    Formats of one vendor share a family for what they write alike; the Responses format keeps what only it has under
    its own name.
    """

    def decode_request(self, body: bytes) -> DecodedRequest:
        """Raises InvalidRequest, naming the field."""

    def encode_request(self, request: Request, *, stream: bool) -> Encoded:
        """The body to send to a provider."""

    def decode_response(self, body: bytes) -> Response:
        """Raises MalformedResponse; a ProviderError of another class if the body is an error after all."""

    def encode_response(self, response: Response) -> Encoded:
        """The body of a whole answer."""

    def stream_decoder(self, *, choices: int = 1) -> StreamDecoder:
        """A decoder for one stream; `choices` is how many answers were asked for."""

    def stream_watch(self, *, choices: int = 1) -> StreamWatch:
        """A watch over one stream that is passed on as it is."""

    def watch_response(self, body: bytes) -> ResponseSight:
        """What a whole answer that is passed on says. Raises as `decode_response` does."""

    def stream_encoder(self, *, include_usage: bool = True) -> StreamEncoder:
        """An encoder for one stream."""

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The typed error of a reply with status >= 400, whatever its body. Never raises. Header names: lower-case."""

    def encode_error(self, error: WaypostError) -> ErrorReply:
        """The error as this format writes it."""


class EmbeddingCodec(Protocol):
    """One wire format's embeddings. Errors are written and read by the Codec of the same vendor."""

    name: str
    family: str

    def decode_request(self, body: bytes) -> EmbeddingRequest:
        """Raises InvalidRequest, naming the field."""

    def encode_request(self, request: EmbeddingRequest) -> Encoded:
        """The body to send to a provider. Raises UnsupportedFeature if an input cannot be carried at all."""

    def decode_response(self, body: bytes) -> EmbeddingResponse:
        """Raises MalformedResponse; a ProviderError of another class if the body is an error after all."""

    def encode_response(self, response: EmbeddingResponse, *, encoding: Encoding | None = None) -> Encoded:
        """The body of an answer, its vectors in the encoding that the caller wished."""


class CountCodec(Protocol):
    """One vendor's endpoint that counts a prompt's tokens. Errors are written and read by its Codec."""

    name: str
    family: str

    def decode_request(self, body: bytes) -> Request:
        """The prompt to count. Raises InvalidRequest, naming the field."""

    def encode_request(self, request: Request) -> Encoded:
        """The body to send to a provider. What is not counted is no loss."""

    def decode_response(self, body: bytes) -> int:
        """The count. Raises MalformedResponse; a ProviderError of another class if the body is an error after all."""

    def encode_response(self, tokens: int) -> bytes:
        """The body of an answer."""
