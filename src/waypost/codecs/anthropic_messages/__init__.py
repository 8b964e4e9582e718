"""The wire format of Anthropic's Messages API, both ways. `codec` is its one public name."""

from __future__ import annotations

from collections.abc import Mapping

from waypost.chat import Request, Response
from waypost.codecs.anthropic_messages import errors
from waypost.codecs.anthropic_messages import request as requests
from waypost.codecs.anthropic_messages import response as responses
from waypost.codecs.anthropic_messages.stream_decoder import AnthropicStreamDecoder
from waypost.codecs.anthropic_messages.stream_encoder import AnthropicStreamEncoder
from waypost.codecs.anthropic_messages.wire import FAMILY, NAME
from waypost.codecs.codec import Codec, DecodedRequest, Encoded, ErrorReply, ResponseSight, StreamWatch
from waypost.codecs.watch import DecoderWatch, sight_of
from waypost.errors import ProviderError, WaypostError


class AnthropicMessages:
    """The codec; see `waypost.codecs.codec.Codec`."""

    name: str = NAME
    family: str = FAMILY

    def decode_request(self, body: bytes) -> DecodedRequest:
        """Raises InvalidRequest, naming the field by its path."""
        return requests.decode_request(body)

    def encode_request(self, request: Request, *, stream: bool) -> Encoded:
        """The body to send to a provider."""
        return requests.encode_request(request, stream=stream)

    def decode_response(self, body: bytes) -> Response:
        """Raises MalformedResponse; the typed ProviderError if the body is an error after all."""
        return responses.decode_response(body)

    def encode_response(self, response: Response) -> Encoded:
        """The body of a whole answer."""
        return responses.encode_response(response)

    def stream_decoder(self, *, choices: int = 1) -> AnthropicStreamDecoder:  # noqa: ARG002 - there is always one
        """A decoder for one stream."""
        return AnthropicStreamDecoder()

    def stream_watch(self, *, choices: int = 1) -> StreamWatch:  # noqa: ARG002 - there is always one
        """A watch over one stream that is passed on as it is."""
        return DecoderWatch(AnthropicStreamDecoder())

    def watch_response(self, body: bytes) -> ResponseSight:
        """What a whole answer that is passed on says. Raises as `decode_response` does."""
        return sight_of(responses.decode_response(body))

    def stream_encoder(self, *, include_usage: bool = True) -> AnthropicStreamEncoder:  # noqa: ARG002
        """An encoder for one stream. Usage is always written: this format has no stream without it."""
        return AnthropicStreamEncoder()

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The typed error of a reply that failed. Never raises. Header names: lower-case."""
        return errors.decode_error(status, headers, body)

    def encode_error(self, error: WaypostError) -> ErrorReply:
        """The error as this format writes it."""
        return errors.encode_error(error)


codec: Codec = AnthropicMessages()

__all__ = ["codec"]
