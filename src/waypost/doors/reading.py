"""A request in its caller's wire format, read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from waypost.chat import Request
from waypost.codecs.codec import Codec
from waypost.codecs.passing import glance
from waypost.providers.asked import Asked, Written


def _as_it_is(request: Request) -> Request:
    return request


def read_written(
    codec: Codec, body: bytes, headers: Mapping[str, str], cleaned: Callable[[Request], Request] = _as_it_is
) -> Asked:
    """A request that names its model in the body. `headers` are those that the format's providers may see.

    `cleaned` takes out of the canonical request what we had put into answers ourselves.

    Raises InvalidRequest: no sound JSON object, no model, a wrong type.
    """
    seen = glance(codec.name, body)
    written = Written(codec.name, body, seen, headers)
    return Asked(
        seen.model, written=written, decode=lambda: cleaned(codec.decode_request(body).request), stream=seen.stream
    )
