"""From a request's bytes to a validated model. Strict: what another reader might understand otherwise is refused."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from waypost.codecs.jsonbytes import JsonError, parse_request
from waypost.doors.off_loop import LARGE_BYTES, off_loop_if_large
from waypost.errors import InvalidRequest
from waypost.server.validation import EXAMPLE, checked

ModelT = TypeVar("ModelT", bound=BaseModel)
__all__ = ["LARGE_BYTES", "off_loop_if_large", "parse_body", "read_body", "read_whole"]


async def read_body(request: Request, model: type[ModelT], example: str = EXAMPLE) -> ModelT:
    """The body as `model`. Raises InvalidRequest, naming line and column or the field."""
    body = await request.body()
    return await off_loop_if_large(len(body), lambda: parse_body(body, model, example))


async def read_whole(receive: Receive) -> bytes:
    """The request's body. Raises ClientDisconnect if the caller leaves within it."""
    pieces: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def parse_body(body: bytes, model: type[ModelT], example: str = EXAMPLE) -> ModelT:
    """The bytes as `model`. Raises InvalidRequest, naming line and column or the field."""
    if not body.strip():
        raise InvalidRequest("The body is empty.", hint=f"Send JSON, for instance {example}.")
    try:
        value = parse_request(body)
    except JsonError as error:
        raise InvalidRequest(
            f"The body is not sound JSON: {error}.", hint="Mend the body and send it again."
        ) from error
    return checked(model, value, example)
