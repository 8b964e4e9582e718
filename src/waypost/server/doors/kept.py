"""A route's kept answers, in front of the gateway: told if there is one, recorded if not.

Routes without a cache never come here. What may be kept, and for whom, is `gateway.response_cache`'s to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.types import Message, Scope, Send

from waypost.gateway.call_record import note_kept_answer
from waypost.gateway.response_cache import MISS, Hit, Recording, cache_key, wish_of
from waypost.gateway.stores import RouteCache
from waypost.providers.asked import Asked, Written
from waypost.server.application import served_in
from waypost.server.body import off_loop_if_large
from waypost.server.callers import caller_of
from waypost.server.doors.door import Door
from waypost.server.doors.headers import request_id_header
from waypost.server.middleware.headers import header_values
from waypost.server.middleware.request_id import request_id_of
from waypost.settings.references import DEFAULT_ROUTE

Answering = Callable[[Send], Awaitable[bool]]
"""Answers the request through that `send`. True if the provider finished and all of its answer was sent."""
QUERIED_KEY: Final = b"key="
"""The caller's own key, where Google's clients put it into the query."""


def cache_of(scope: Scope, asked: Asked) -> RouteCache | None:
    """The cache of the route that the request asks for, None if it has none."""
    caches = served_in(scope).stores.caches
    return caches.get(asked.model or DEFAULT_ROUTE) if caches else None


async def through_cache(
    cache: RouteCache, door: Door, asked: Asked, scope: Scope, send: Send, answer: Answering
) -> None:
    """Tell the kept answer to this request, or have it answered and keep that, as its Cache-Control wishes."""
    wish = wish_of(",".join(header_values(scope, b"cache-control")))
    key = await _key(cache, door, asked, scope) if wish.writes else None
    if key is None:
        await answer(send)
        return
    hit = cache.answers.look_up(key, max_age_s=wish.max_age_s) if wish.reads else None
    if hit is not None:
        await _tell(hit, door, scope, send)
        return
    recording = cache.answers.record(key, cache.ttl_s)
    complete = await answer(_Recorded(send, recording, door.keep_alive))
    recording.finish(complete=complete)


async def _key(cache: RouteCache, door: Door, asked: Asked, scope: Scope) -> bytes | None:
    written = asked.written
    if written is None:
        return None
    tenant, also = caller_of(scope).name, _also(written, scope)
    return await off_loop_if_large(
        len(written.body),
        lambda: cache_key(tenant, cache.route, door.codec.name, stream=asked.stream, body=written.body, also=also),
    )


def _also(written: Written, scope: Scope) -> list[str]:
    """What of the request besides its body an answer depends on."""
    query = [each for each in scope["query_string"].split(b"&") if each and not each.startswith(QUERIED_KEY)]
    headers = [f"{name}: {value}" for name, value in sorted(written.headers.items())]
    return [*(each.decode("latin-1") for each in query), *headers]


async def _tell(hit: Hit, door: Door, scope: Scope, send: Send) -> None:
    note_kept_answer(hit.headers, cache="hit")
    own = request_id_header(door, request_id_of(scope))
    headers = [*hit.headers, *((name.encode(), value.encode()) for name, value in own.items())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": hit.body})


class _Recorded:
    """`send` that marks the answer as a miss and has it recorded, but for what only breaks a silence."""

    def __init__(self, send: Send, recording: Recording, keep_alive: bytes) -> None:
        self._send = send
        self._recording = recording
        self._keep_alive = keep_alive

    async def __call__(self, message: Message) -> None:
        """Send it."""
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), MISS]
            self._recording.start(message["status"], headers)
            message = {**message, "headers": headers}
        elif (body := message.get("body", b"")) is not self._keep_alive:
            # The same object: a provider's own ping may have the same bytes, and belongs to its answer.
            self._recording.append(body)
        await self._send(message)
