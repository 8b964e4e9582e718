"""Counting a prompt's tokens at Google (`:countTokens`), both ways; `count_codec` is what to use.

A body holds `contents` alone, or a whole `generateContentRequest`, which is what is sent. As everywhere in this format
the model stands in the URL; decoding gives the one that a whole request repeats, "" otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from waypost.chat import Request, Sampling
from waypost.codecs.codec import CountCodec, Encoded
from waypost.codecs.gemini import request as requests
from waypost.codecs.gemini.errors import error_of, is_error
from waypost.codecs.gemini.wire import FAMILY, Members, camel_case, integer
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply, parse_request
from waypost.codecs.reading import WireError, an_object, optional
from waypost.errors import InvalidRequest, MalformedResponse

_WHOLE: Final = "generateContentRequest"
_PREFIX: Final = "models/"


class GeminiCount:
    """See `codecs.codec.CountCodec`."""

    name: str = "gemini_count_tokens"
    family: str = FAMILY

    def decode_request(self, body: bytes) -> Request:
        """The prompt to count. Raises InvalidRequest, naming the field."""
        try:
            return _read(camel_case(an_object(parse_request(body), "")))
        except JsonError as error:
            raise InvalidRequest(f"The request body is not valid JSON: {error}.") from error
        except WireError as error:
            raise InvalidRequest(str(error), param=error.path or None) from error

    def encode_request(self, request: Request) -> Encoded:
        """The body to send; settings of generation are no loss here, for they are not counted."""
        whole = requests.encode_request(replace(request, sampling=Sampling(), end_user_id=None))
        body = {_WHOLE: {"model": f"{_PREFIX}{request.model}", **parse_reply(whole.body)}}
        return Encoded(dump(body)[0], whole.losses)

    def decode_response(self, body: bytes) -> int:
        """The count. Raises MalformedResponse; the typed ProviderError if the body is an error after all."""
        try:
            value = parse_reply(body)
            if is_error(value):
                raise error_of(value)
            # A count of 0 is left out, as in all of protobuf's JSON.
            return integer(an_object(value, ""), "totalTokens", "") or 0
        except JsonError as error:
            raise MalformedResponse(f"The answer is not valid JSON: {error}.") from error
        except WireError as error:
            raise MalformedResponse(f"The answer is not a count of Gemini's: {error}.") from error

    def encode_response(self, tokens: int) -> bytes:
        """The body of an answer."""
        return dump({"totalTokens": tokens})[0]


def _read(tree: Members) -> Request:
    whole = optional(tree, _WHOLE, dict, "")
    if whole is None:
        return requests.read(tree)
    whole = dict(whole)
    model = optional(whole, "model", str, _WHOLE) or ""
    whole.pop("model", None)
    return replace(requests.read(whole), model=model.removeprefix(_PREFIX))


count_codec: Final[CountCodec] = GeminiCount()
