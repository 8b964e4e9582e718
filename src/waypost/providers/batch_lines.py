"""Replies of batch APIs, read: one small JSON object, or lines of JSON of which only one is held at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, TypeVar

import msgspec

from waypost.errors import MalformedResponse, ProviderError
from waypost.providers.batch_api import ApiCall, Sender
from waypost.transport import Reply

StructT = TypeVar("StructT")
MOST_TOLD_BYTES: Final = 8 * 1024 * 1024
ENDED_ALREADY: Final = frozenset({400, 409})
LONGEST_LINE_BYTES: Final = 64 * 1024 * 1024


async def told(sender: Sender, call: ApiCall, form: type[StructT]) -> StructT:
    """What the vendor answers. Raises ProviderError."""
    reply = await sender.send(call)
    try:
        body = await reply.read(MOST_TOLD_BYTES)
    finally:
        reply.close()
    return read(sender, body, form)


async def cancel(sender: Sender, call: ApiCall) -> None:
    """Ask for a batch's end. That it has ended by itself, the vendors call a fault of the request."""
    try:
        reply = await sender.send(call)
    except ProviderError as error:
        if error.status not in ENDED_ALREADY:
            raise
    else:
        reply.close()


def read(sender: Sender, body: bytes, form: type[StructT]) -> StructT:
    """The JSON as a value of that form. Raises MalformedResponse."""
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        malformed = MalformedResponse(f"The provider's batch API answered with something else: {error}.")
        raise sender.named(malformed) from error


async def lines_of(reply: Reply) -> AsyncIterator[bytes]:
    """Lines that are not empty, without their ends. Raises ProviderError."""
    rest = b""
    while chunk := await reply.next_chunk():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(rest) > LONGEST_LINE_BYTES:
            raise MalformedResponse(f"A line of the results has more than {LONGEST_LINE_BYTES} bytes.")
    if rest.strip():
        yield rest
