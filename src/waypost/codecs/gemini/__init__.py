"""The wire format of Google's Gemini API (v1beta, generateContent), both ways. `codec` is its one public name.

The model and whether to stream stand in the URL: `decode_request` leaves them to whoever knows it. Streams are
server-sent events (`alt=sse`); the JSON array that Google streams without that parameter is not read or written here.
"""

from __future__ import annotations

from collections.abc import Mapping

from waypost.chat import Request, Response
from waypost.codecs.codec import Codec, DecodedRequest, Encoded, ErrorReply, ResponseSight, StreamWatch
from waypost.codecs.gemini import errors
from waypost.codecs.gemini import request as requests
from waypost.codecs.gemini import response as responses
from waypost.codecs.gemini.stream_decoder import GeminiStreamDecoder
from waypost.codecs.gemini.stream_encoder import GeminiStreamEncoder
from waypost.codecs.gemini.wire import FAMILY, NAME
from waypost.codecs.watch import DecoderWatch, sight_of
from waypost.errors import ProviderError, WaypostError


class Gemini:
    """The codec; see `waypost.codecs.codec.Codec`."""

    name: str = NAME
    family: str = FAMILY

    def decode_request(self, body: bytes) -> DecodedRequest:
        """The model is "" and nothing is streamed: the URL says both. Raises InvalidRequest, naming the field."""
        return requests.decode_request(body)

    def encode_request(self, request: Request, *, stream: bool) -> Encoded:  # noqa: ARG002 - the URL says it
        """The body to send to a provider."""
        return requests.encode_request(request)

    def decode_response(self, body: bytes) -> Response:
        """Raises MalformedResponse; the typed ProviderError if the body is an error after all."""
        return responses.decode_response(body)

    def encode_response(self, response: Response) -> Encoded:
        """The body of a whole answer."""
        return responses.encode_response(response)

    def stream_decoder(self, *, choices: int = 1) -> GeminiStreamDecoder:
        """A decoder for one stream of that many candidates."""
        return GeminiStreamDecoder(choices)

    def stream_watch(self, *, choices: int = 1) -> StreamWatch:
        """A watch over one stream that is passed on as it is."""
        return DecoderWatch(GeminiStreamDecoder(choices))

    def watch_response(self, body: bytes) -> ResponseSight:
        """What a whole answer that is passed on says. Raises as `decode_response` does."""
        return sight_of(responses.decode_response(body))

    def stream_encoder(self, *, include_usage: bool = True) -> GeminiStreamEncoder:  # noqa: ARG002
        """An encoder for one stream. Usage is always written: this format has no stream without it."""
        return GeminiStreamEncoder()

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The typed error of a reply that failed. Never raises. Header names: lower-case."""
        return errors.decode_error(status, headers, body)

    def encode_error(self, error: WaypostError) -> ErrorReply:
        """The error as this format writes it."""
        return errors.encode_error(error)


codec: Codec = Gemini()

__all__ = ["codec"]
