"""A provider reached over HTTP: one codec, one connection pool, one place that says where and with which headers.

Vendors differ only in their table row (`vendor.py`) and in where their endpoint comes from; nothing here knows any
of them. Holds no retries: those are the gateway's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from urllib.parse import quote, urlsplit

from waypost.chat import Event, Failed, Finish, Request, Response, ResponseStart
from waypost.codecs.codec import Codec, Encoded, StreamDecoder
from waypost.codecs.sse import SseDecoder
from waypost.errors import MalformedResponse, ProviderConnectionLost, ProviderError
from waypost.providers.provider import ProviderState
from waypost.providers.secrets import clean
from waypost.transport import Deadlines, HttpClient, Reply

_MAX_ERROR_BODY_BYTES = 64 * 1024
_DRAIN_S = 0.5
"""How long the end of the body may take after the terminal event, so that the connection can be used again."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to send a request, and the headers that authorize it. "{model}" in a URL stands for the model.

    `stream_url` is for streams; None: they are asked for at `url`.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    stream_url: str | None = None

    def url_for(self, model: str, *, stream: bool) -> str:
        """The address for one request."""
        url = self.stream_url if stream and self.stream_url is not None else self.url
        return url.replace("{model}", quote(model, safe=""))


EndpointSource: TypeAlias = Callable[[], Awaitable[Endpoint]]


@dataclass(frozen=True, slots=True)
class HttpProviderOptions:
    """What makes one provider out of the mechanism."""

    name: str
    codec: Codec
    endpoint: EndpointSource
    default_model: str | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    serves: Callable[[str], bool | None] = lambda _model: None
    state: Callable[[], ProviderState] = lambda: ProviderState("ready")
    secrets: tuple[str, ...] = field(default=(), repr=False)


class HttpProvider:
    """Implements `Provider` (see there) by POST requests in one wire format."""

    def __init__(self, options: HttpProviderOptions, client: HttpClient) -> None:
        self.name = options.name
        self.default_model = options.default_model
        self.models: tuple[str, ...] | None = None
        self.slow_start = False
        self._options = options
        self._codec = options.codec
        self._client = client

    def serves(self, model: str) -> bool | None:
        """Does this vendor have such a model? None: it cannot be told from the name."""
        return model == self.default_model or self._options.serves(model)

    def state(self) -> ProviderState:
        """How it is, from what is known now."""
        return self._options.state()

    async def close(self) -> None:
        """Close the connection pool."""
        await self._client.close()

    async def generate(self, request: Request) -> Response:
        """The whole answer. Raises ProviderError."""
        request = self._with_model(request)
        encoded = self._codec.encode_request(request, stream=False)
        with self._named_errors():
            async with self._send(request.model, encoded.body, stream=False) as reply:
                response = self._codec.decode_response(await reply.read())
        return replace(response, notes=_notes(encoded)) if encoded.losses else response

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[AsyncIterator[Event]]:
        """The answer as events. Raises ProviderError, also in the middle."""
        request = self._with_model(request)
        encoded = self._codec.encode_request(request, stream=True)
        with self._named_errors():
            async with self._send(request.model, encoded.body, stream=True) as reply:
                _demand_event_stream(reply)
                decoder = self._codec.stream_decoder(choices=request.sampling.choices or 1)
                events = self._events(reply, decoder)
                noted = _noted(events, _notes(encoded)) if encoded.losses else events
                async with aclosing(events), aclosing(noted):
                    yield noted

    @asynccontextmanager
    async def _send(self, model: str, body: bytes, *, stream: bool) -> AsyncIterator[Reply]:
        endpoint = await self._options.endpoint()
        headers = {"content-type": "application/json", **endpoint.headers}
        async with self._client.send(
            "POST",
            endpoint.url_for(model, stream=stream),
            headers=headers,
            body=body,
            deadlines=self._options.deadlines,
        ) as reply:
            if 300 <= reply.status < 400:
                raise _redirected(reply)
            if reply.status >= 400:
                error_body = await reply.read(_MAX_ERROR_BODY_BYTES)
                raise self._codec.decode_error(reply.status, reply.headers, error_body)
            yield reply

    def _with_model(self, request: Request) -> Request:
        return request if request.model or not self.default_model else replace(request, model=self.default_model)

    async def _events(self, reply: Reply, decoder: StreamDecoder) -> AsyncGenerator[Event]:
        sse = SseDecoder()
        with self._named_errors():
            chunks = reply.chunks()
            try:
                async for chunk in chunks:
                    finished = False
                    for wire_event in sse.feed(chunk):
                        for event in decoder.feed(wire_event):
                            finished = _raise_if_failed(event)
                            yield event
                    if finished:
                        await _drain(chunks)
                        return
            except ProviderConnectionLost:
                # A provider that has said it was finished owes nothing more; else finish() fails.
                rest = decoder.finish()
                if any(isinstance(event, Failed) for event in rest):
                    raise
            else:
                rest = decoder.finish()
            for event in rest:
                _raise_if_failed(event)
                yield event

    def _named_errors(self) -> _NamedErrors:
        return _NamedErrors(self.name, self._options.secrets)


class _NamedErrors:
    """Gives every ProviderError that passes the provider's name, and takes our secrets out of its text."""

    def __init__(self, name: str, secrets: tuple[str, ...]) -> None:
        self._name = name
        self._secrets = secrets

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, ProviderError) and error.provider is None:
            error.provider = self._name
            for field_name in ("message", "hint", "provider_code", "param", "request_id"):
                text = getattr(error, field_name)
                setattr(error, field_name, clean(text, self._secrets) if text else text)
            error.args = (error.message,)


def _notes(encoded: Encoded) -> tuple[str, ...]:
    return tuple(str(loss) for loss in encoded.losses)


async def _noted(events: AsyncIterator[Event], notes: tuple[str, ...]) -> AsyncGenerator[Event]:
    """The events, with the notes on their start. Closing `events` is left to whoever opened them."""
    async for event in events:
        yield replace(event, notes=notes) if isinstance(event, ResponseStart) else event


def _raise_if_failed(event: Event) -> bool:
    """Is this event the Finish of a choice? Raises what a Failed carries."""
    if isinstance(event, Failed):
        raise event.error
    return isinstance(event, Finish)


def _redirected(reply: Reply) -> MalformedResponse:
    """A redirect is never followed: it would take the key along."""
    place = urlsplit(reply.headers.get("location", ""))
    target = f"{place.scheme}://{place.netloc.rpartition('@')[2]}" if place.netloc else "another path"
    return MalformedResponse(
        f"The provider's address answers with a redirect (status {reply.status}) to {target}.",
        hint="Set base_url to the address it redirects to.",
        status=reply.status,
    )


def _demand_event_stream(reply: Reply) -> None:
    content_type = reply.headers.get("content-type", "")
    if "text/event-stream" not in content_type.lower():
        raise MalformedResponse(
            f"A stream was asked for and the reply is {content_type or 'without a content type'}.",
            hint="Check that base_url points to the provider's API.",
        )


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read the end of the body, so that the connection goes back to the pool; what fails here fails nobody."""
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for _chunk in chunks:
                pass
    except (TimeoutError, ProviderError):
        return
