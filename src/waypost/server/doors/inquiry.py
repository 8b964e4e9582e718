"""Embeddings and counts through a door: read, ask the gateway, write the answer. What streams is `serve`'s."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from waypost.chat import EmbeddingRequest, EmbeddingResponse, Request
from waypost.codecs.codec import CountCodec, Encoded
from waypost.codecs.jsonbytes import JsonError, parse_request
from waypost.errors import InvalidRequest
from waypost.gateway.gateway import Gateway
from waypost.gateway.inquiries import Inquired
from waypost.providers.inquiry import Inquiry
from waypost.server.application import lifecycle_in, served_in
from waypost.server.body import off_loop_if_large, read_whole
from waypost.server.callers import caller_of
from waypost.server.disconnect import CallerGone, connection_of, while_connected
from waypost.server.doors.door import Door
from waypost.server.doors.headers import ESTIMATE, reply_headers
from waypost.server.doors.serve import raw_headers
from waypost.server.middleware.headers import header_value
from waypost.server.middleware.request_id import request_id_of

QuestionT = TypeVar("QuestionT")
QuestionT_co = TypeVar("QuestionT_co", covariant=True)
ResultT = TypeVar("ResultT")


class Reader(Protocol[QuestionT_co]):
    """The half of a codec that reads a caller's body."""

    name: str

    def decode_request(self, body: bytes) -> QuestionT_co:
        """Raises InvalidRequest, naming the field."""


@dataclass(frozen=True, slots=True)
class InquiryDoor(Generic[QuestionT, ResultT]):
    """One dialect's endpoint. `door` says how its errors and ids are told; `write` gives the body of an answer."""

    door: Door
    read: Callable[[Scope, bytes], Inquiry[QuestionT]]
    ask: Callable[[Gateway, Inquiry[QuestionT]], Awaitable[Inquired[ResultT]]]
    write: Callable[[Inquiry[QuestionT], Inquired[ResultT]], Encoded]


class InquiryCall(Generic[QuestionT, ResultT]):
    """The ASGI application at its path."""

    def __init__(self, inquiry_door: InquiryDoor[QuestionT, ResultT]) -> None:
        self._inquiry_door = inquiry_door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises what went wrong."""
        own = self._inquiry_door
        try:
            body = await read_whole(receive)
        except ClientDisconnect:
            return
        inquiry = await off_loop_if_large(len(body), lambda: own.read(scope, body))
        caller_of(scope).demand(inquiry.model)
        work = own.ask(served_in(scope).gateway, inquiry)
        try:
            inquired = await while_connected(work, receive, lifecycle_in(scope), connection_of(scope))
        except CallerGone:
            return
        answer = inquired.answer
        content = answer.body
        if content is not None:
            encoded = Encoded(content)
        else:
            encoded = await off_loop_if_large(answer.size_bytes, lambda: own.write(inquiry, inquired))
        headers = {
            **(inquired.headers if content is not None else {}),
            **reply_headers(own.door, inquired, encoded.losses, request_id_of(scope)),
            **({ESTIMATE: "true"} if answer.estimated else {}),
            "content-type": "application/json",
            "content-length": str(len(encoded.body)),
            "cache-control": "no-store",
        }
        await send({"type": "http.response.start", "status": 200, "headers": raw_headers(headers)})
        await send({"type": "http.response.body", "body": encoded.body})


def read_inquiry(
    codec: Reader[QuestionT], scope: Scope, body: bytes, forwarded: tuple[str, ...] = ()
) -> Inquiry[QuestionT]:
    """An inquiry that names its model in the body. `forwarded` are headers that the format's providers may see.

    Raises InvalidRequest: no sound JSON object, no model. What else may be wrong is found where the body is decoded.
    """
    model = members_of(body).get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model must be a name.", hint="Name a route or a model.", param="model")
    headers = {name: value for name in forwarded if (value := header_value(scope, name.encode())) is not None}
    return Inquiry(model, codec.name, body, lambda: codec.decode_request(body), headers)


def members_of(body: bytes) -> dict[str, Any]:
    """The body's members. Raises InvalidRequest if it is no sound JSON object."""
    try:
        members = parse_request(body)
    except JsonError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error
    if not isinstance(members, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return members


def ask_embeddings(gateway: Gateway, inquiry: Inquiry[EmbeddingRequest]) -> Awaitable[Inquired[EmbeddingResponse]]:
    """Vectors for texts."""
    return gateway.embed(inquiry)


def ask_count(gateway: Gateway, inquiry: Inquiry[Request]) -> Awaitable[Inquired[int]]:
    """How many tokens a prompt has."""
    return gateway.count_tokens(inquiry)


def count_written_by(codec: CountCodec) -> Callable[[Inquiry[Request], Inquired[int]], Encoded]:
    """Counts as this format writes them."""
    return lambda _inquiry, inquired: Encoded(codec.encode_response(inquired.answer.result))
