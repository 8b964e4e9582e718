"""From a request's bytes to a validated model. Strict: what another reader might understand otherwise is refused."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from waypost.codecs.jsonbytes import JsonError, parse_request
from waypost.errors import InvalidRequest
from waypost.server.validation import checked

ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_body(request: Request, model: type[ModelT]) -> ModelT:
    """The body as `model`. Raises InvalidRequest, naming line and column or the field."""
    body = await request.body()
    if not body.strip():
        raise InvalidRequest("The body is empty.", hint='Send JSON, for instance {"prompt": "…"}.')
    try:
        value = parse_request(body)
    except JsonError as error:
        raise InvalidRequest(
            f"The body is not sound JSON: {error}.", hint="Mend the body and send it again."
        ) from error
    return checked(model, value)
