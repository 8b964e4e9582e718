"""OpenAI's embeddings format (`/v1/embeddings`), both ways. `codec` is its one public name.

A vector in base64 is little-endian 32-bit floats; they are read into Python's floats exactly, and written rounded to
32 bits. The invariant: an answer has one vector for each index from 0 on, or it is malformed.
"""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from typing import Final

import msgspec

from waypost.chat import EmbeddingRequest, EmbeddingResponse, Json, Usage
from waypost.chat.embedding import EmbeddingInput, Encoding, Vector
from waypost.codecs.codec import EmbeddingCodec, Encoded
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply, parse_request
from waypost.codecs.openai_chat.dialect import FAMILY, Losses
from waypost.codecs.openai_chat.errors import error_in_body
from waypost.codecs.openai_chat.fields import Fields, refuse
from waypost.codecs.openai_chat.request import REPAIRED
from waypost.errors import InvalidRequest, MalformedResponse

ENCODINGS: Final[dict[str, Encoding]] = {"float": "float", "base64": "base64"}


class _Vector(msgspec.Struct):
    embedding: tuple[float, ...] | str
    index: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Vector]
    model: str | None = None
    usage: _Usage | None = None


_ANSWERS: Final = msgspec.json.Decoder(_Answer)


class OpenAIEmbeddings:
    """See `codecs.codec.EmbeddingCodec`."""

    name = "openai_embeddings"
    family = FAMILY

    def decode_request(self, body: bytes) -> EmbeddingRequest:
        """The request in a caller's body. Raises InvalidRequest, naming the place."""
        try:
            fields = Fields(parse_request(body))
        except JsonError as error:
            raise InvalidRequest(f"The body is not valid JSON: {error}.") from error
        model = fields.text("model")
        if not model:
            refuse("model", "must not be empty")
        word = fields.text_or_none("encoding_format")
        if word is not None and word not in ENCODINGS:
            refuse("encoding_format", 'must be "float" or "base64"')
        inputs = _inputs(fields.take("input"))
        dimensions = fields.integer_or_none("dimensions", least=1)
        end_user_id = fields.text_or_none("user")
        options = {name: value for name, value in fields.rest().items() if value is not None}
        encoding = None if word is None else ENCODINGS[word]
        return EmbeddingRequest(model, inputs, dimensions, encoding, end_user_id, {FAMILY: options} if options else {})

    def encode_request(self, request: EmbeddingRequest) -> Encoded:
        """The body for a provider, and what it could not carry."""
        losses = Losses()
        wishes = {
            "dimensions": request.dimensions,
            "encoding_format": request.encoding,
            "user": request.end_user_id,
        }
        for family, options in request.provider_options.items():
            for name in options if family != FAMILY else ():
                losses.add(f"provider_options.{family}.{name}", f"only {family} has such a setting")
        body: dict[str, Json] = {
            **request.provider_options.get(FAMILY, {}),
            "model": request.model,
            "input": request.inputs,
            **{name: value for name, value in wishes.items() if value is not None},
        }
        wire, repaired = dump(body)
        if repaired:
            losses.add(*REPAIRED)
        return Encoded(wire, losses.listed())

    def decode_response(self, body: bytes) -> EmbeddingResponse:
        """Raises MalformedResponse, or the typed error if the body is an error after all."""
        try:
            answer = parse_reply(body, _ANSWERS)
        except JsonError as problem:
            _raise_error(body)
            raise _malformed(str(problem)) from problem
        places = [at if item.index is None else item.index for at, item in enumerate(answer.data)]
        if sorted(places) != list(range(len(places))):
            raise _malformed("its indexes are not those of a list")
        vectors = dict(zip(places, (_vector(item.embedding) for item in answer.data), strict=True))
        usage = Usage(input_tokens=answer.usage.prompt_tokens) if answer.usage is not None else Usage()
        return EmbeddingResponse(answer.model or "", tuple(vectors[at] for at in range(len(vectors))), usage)

    def encode_response(self, response: EmbeddingResponse, *, encoding: Encoding | None = None) -> Encoded:
        """The body of an answer; usage that was not reported is left out."""
        losses = Losses()
        data = [
            {"object": "embedding", "index": at, "embedding": _base64(vector) if encoding == "base64" else vector}
            for at, vector in enumerate(response.vectors)
        ]
        body: dict[str, Json] = {"object": "list", "data": data, "model": response.model}
        tokens = response.usage.input_tokens
        if tokens is None:
            losses.add("usage", "it was not reported: left out, though readers want numbers there")
        else:
            body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return Encoded(dump(body)[0], losses.listed())


def _inputs(value: Json) -> tuple[EmbeddingInput, ...]:
    """The four forms: a text, a list of texts, one text's tokens, a list of texts' tokens."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not value:
        refuse("input", "must be a text, its tokens, or a list of either that is not empty")
    if _is_tokens(value):
        return (tuple(value),)
    return tuple(_input(item, f"input[{at}]") for at, item in enumerate(value))


def _input(value: Json, path: str) -> EmbeddingInput:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value or not _is_tokens(value):
        refuse(path, "must be a text or a list of token numbers")
    return tuple(value)


def _is_tokens(value: list[Json]) -> bool:
    return all(type(item) is int and item >= 0 for item in value)


def _vector(written: tuple[float, ...] | str) -> Vector:
    if not isinstance(written, str):
        return written
    try:
        numbers = array("f", base64.b64decode(written, validate=True))
    except (binascii.Error, ValueError) as problem:
        raise _malformed("a vector is not base64 of 32-bit floats") from problem
    if sys.byteorder == "big":
        numbers.byteswap()
    if not all(map(math.isfinite, numbers)):
        raise _malformed("a vector has a number that is not finite")
    return tuple(numbers)


def _base64(vector: Vector) -> str:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


def _raise_error(body: bytes) -> None:
    try:
        value = parse_reply(body)
    except JsonError as problem:
        raise _malformed(str(problem)) from problem
    if isinstance(value, dict) and (error := error_in_body(value)) is not None:
        raise error


def _malformed(problem: str) -> MalformedResponse:
    return MalformedResponse(f"The response is not a list of embeddings: {problem}.")


codec: Final[EmbeddingCodec] = OpenAIEmbeddings()
