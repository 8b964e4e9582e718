"""Embeddings and counts over HTTP: where one vendor answers them, and in which format.

What sends is the provider's (`http_provider`), which says where its account is and who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeAlias, TypeVar

from waypost.chat import EmbeddingRequest, EmbeddingResponse, Request
from waypost.codecs.codec import CountCodec, EmbeddingCodec, Encoded
from waypost.errors import ProviderError, UnsupportedFeature
from waypost.providers.inquiry import Inquiry, InquiryAnswer

QuestionT = TypeVar("QuestionT")
ResultT = TypeVar("ResultT")
CodecT = TypeVar("CodecT")
ABSENT: Final = frozenset({404, 405})
"""How servers say that an endpoint is not there; 405 where another method has its path."""
LARGE_BYTES: Final = 256 * 1024
"""From here on reading a reply takes so long that other requests must not wait for it."""

Post: TypeAlias = Callable[[str, str, bytes, Mapping[str, str]], Awaitable[tuple[bytes, Mapping[str, str]]]]
"""`post(path, model, body, headers)` gives a reply's body and those of its headers that a caller may see."""


@dataclass(frozen=True, slots=True)
class Place(Generic[CodecT]):
    """One endpoint: its path below the account's base URL, "{model}" standing for the model, and its format.

    `missing_model`: the vendor's code where a model is not there; a 404 or 405 with another is about the endpoint.
    None: it cannot be told which of the two it is.
    """

    path: str
    codec: CodecT
    missing_model: str | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """What a vendor answers. The first place for embeddings takes requests of any number of texts.

    `count` is called when the first count is asked for: its format need not be loaded before.
    """

    embeddings: tuple[Place[EmbeddingCodec], ...] = ()
    count: Callable[[], Place[CountCodec]] | None = None


NO_PLACES: Final = Places()


async def embed(
    places: Places, post: Post, inquiry: Inquiry[EmbeddingRequest], model: str
) -> InquiryAnswer[EmbeddingResponse]:
    """Ask the place that has the caller's own format, else the first one. Raises ProviderError, UnsupportedFeature."""
    if not places.embeddings:
        raise UnsupportedFeature("This provider has no embeddings.", hint="Ask a model that has them.", param="model")
    place = next((each for each in places.embeddings if each.codec.name == inquiry.wire), places.embeddings[0])
    codec = place.codec
    passed = codec.name == inquiry.wire
    sent = _sent(inquiry, model, passed, lambda: codec.encode_request(replace(inquiry.question, model=model)))
    body, headers = await post(place.path, model, sent.body, inquiry.headers if passed else {})
    response = await _off_loop_if_large(body, codec.decode_response)
    return InquiryAnswer(
        response,
        model=response.model,
        usage=response.usage,
        body=body if passed else None,
        headers=headers,
        notes=tuple(str(loss) for loss in sent.losses),
        size_bytes=len(body),
    )


async def count_tokens(
    place: Place[CountCodec], post: Post, inquiry: Inquiry[Request], model: str
) -> InquiryAnswer[int] | None:
    """Ask the vendor, None if its server has no such endpoint. Raises ProviderError."""
    codec = place.codec
    passed = codec.name == inquiry.wire
    sent = _sent(inquiry, model, passed, lambda: codec.encode_request(replace(inquiry.question, model=model)))
    try:
        body, headers = await post(place.path, model, sent.body, inquiry.headers if passed else {})
    except ProviderError as error:
        if error.status not in ABSENT or place.missing_model in (None, error.provider_code):
            raise
        return None
    notes = tuple(str(loss) for loss in sent.losses)
    return InquiryAnswer(codec.decode_response(body), body=body if passed else None, headers=headers, notes=notes)


def _sent(inquiry: Inquiry[QuestionT], model: str, passed: bool, encode: Callable[[], Encoded]) -> Encoded:
    """The caller's own bytes where they fit, else the canonical form encoded."""
    return Encoded(inquiry.body_for(model)) if passed else encode()


async def _off_loop_if_large(body: bytes, decode: Callable[[bytes], ResultT]) -> ResultT:
    return decode(body) if len(body) < LARGE_BYTES else await asyncio.to_thread(decode, body)
