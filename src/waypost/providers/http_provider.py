"""A provider reached over HTTP: one codec, one connection pool, one place that says where and with which headers.

Vendors differ only in their table row (`vendor.py`) and in the way into their account (`access.py`); nothing here
knows any of them. Holds no retries: those are the gateway's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from waypost.chat import EmbeddingRequest, EmbeddingResponse, Request, Response
from waypost.codecs.codec import Codec
from waypost.errors import MalformedResponse, ProviderError
from waypost.providers import http_inquiry
from waypost.providers.access import ProviderAccess
from waypost.providers.answers import Answer, AnswerStream
from waypost.providers.asked import Asked
from waypost.providers.http_inquiry import NO_PLACES, Places
from waypost.providers.http_stream import DecodedStream, PassedStream, WireStream
from waypost.providers.inquiry import Inquiry, InquiryAnswer
from waypost.providers.provider import ProviderState
from waypost.providers.raw import RawCall, RawError, RawReply
from waypost.providers.secrets import clean, clean_body
from waypost.transport import Deadlines, HttpClient, Reply

_MAX_ERROR_BODY_BYTES = 64 * 1024
_MAX_RAW_ERROR_BYTES = 1024 * 1024


AccessSource: TypeAlias = Callable[[], Awaitable[ProviderAccess]]
"""Gives the way into the account; a local model's is known only once its process runs."""
_Address: TypeAlias = Callable[[ProviderAccess], str]


@dataclass(frozen=True, slots=True)
class HttpProviderOptions:
    """What makes one provider out of the mechanism."""

    name: str
    codec: Codec
    access: AccessSource
    default_model: str | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    serves: Callable[[str], bool | None] = lambda _model: None
    state: Callable[[], ProviderState] = lambda: ProviderState("ready")
    secrets: tuple[str, ...] = field(default=(), repr=False)
    places: Places = NO_PLACES
    """Where embeddings and counts are answered."""


class HttpProvider:
    """Implements `Provider` (see there) by POST requests in one wire format."""

    def __init__(self, options: HttpProviderOptions, client: HttpClient) -> None:
        self.name = options.name
        self.default_model = options.default_model
        self.models: tuple[str, ...] | None = None
        self.slow_start = False
        self.takes_raw = True
        self.embeds = bool(options.places.embeddings)
        self.counts_tokens = options.places.count is not None
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

    async def generate(self, asked: Asked, model: str = "") -> Answer:
        """The whole answer. Raises ProviderError."""
        model = model or self.default_model or ""
        with self._named_errors():
            sending = self._sending(asked, model, stream=False)
            async with self._send(_at_model(model, stream=False), sending.headers, sending.body) as (reply, key):
                answer = self._answer(await reply.read(), shown_headers(reply.headers), sending)
                answer.key_label = key
                return answer

    @asynccontextmanager
    async def stream(self, asked: Asked, model: str = "") -> AsyncIterator[AnswerStream]:
        """The answer as batches of events. Raises ProviderError, also in the middle."""
        model = model or self.default_model or ""
        with self._named_errors():
            sending = self._sending(asked, model, stream=True)
            async with self._send(_at_model(model, stream=True), sending.headers, sending.body) as (reply, key):
                _demand_event_stream(reply)
                stream = self._wire_stream(reply, sending, asked)
                stream.key_label = key
                yield stream

    def _answer(self, body: bytes, headers: Mapping[str, str], sending: _Sending) -> Answer:
        if not sending.passed:
            return Answer.of(self._noted(self._codec.decode_response(body), sending), headers)
        seen = self._codec.watch_response(body)
        return Answer(seen.model, seen.usage, body=body, decode=self._codec.decode_response, headers=headers)

    def _wire_stream(self, reply: Reply, sending: _Sending, asked: Asked) -> WireStream:
        headers = shown_headers(reply.headers)
        if not sending.passed:
            return DecodedStream(reply, headers, sending.notes, self._codec.stream_decoder(choices=asked.choices))
        watch = self._codec.stream_watch(choices=asked.choices)
        tell_usage = asked.written is None or asked.written.seen.include_usage
        return PassedStream(reply, headers, self._codec, watch, usage=tell_usage)

    def _sending(self, asked: Asked, model: str, *, stream: bool) -> _Sending:
        """The caller's own bytes where they fit, else the canonical request encoded."""
        written = asked.written_in(self._codec.name)
        if written is not None:
            return _Sending(written.body_for(model), written.headers, passed=True)
        encoded = self._codec.encode_request(replace(asked.request, model=model), stream=stream)
        return _Sending(encoded.body, {}, tuple(str(loss) for loss in encoded.losses))

    @asynccontextmanager
    async def _send(
        self, place: _Address, headers: Mapping[str, str], body: bytes
    ) -> AsyncIterator[tuple[Reply, str | None]]:
        """The reply, and the label of the key that went with the call, where there are several."""
        access = await self._options.access()
        url = place(access)
        authorized, key = await access.authorize("POST", url, body)
        headers = {"content-type": "application/json", **headers, **authorized}
        async with self._client.send(
            "POST", url, headers=headers, body=body, deadlines=self._options.deadlines
        ) as reply:
            if 300 <= reply.status < 400:
                raise _redirected(reply)
            if reply.status >= 400:
                error_body = await reply.read(_MAX_ERROR_BODY_BYTES)
                error = self._codec.decode_error(reply.status, reply.headers, error_body)
                error.key_label = key.told_label if key else None
                error.another_key = access.report(key, error)
                raise error
            access.report(key, None)
            yield reply, key.told_label if key else None

    async def embed(self, inquiry: Inquiry[EmbeddingRequest], model: str = "") -> InquiryAnswer[EmbeddingResponse]:
        """See `inquiry.EmbeddingProvider`."""
        with self._named_errors():
            return await http_inquiry.embed(
                self._options.places, self._post, inquiry, model or self.default_model or ""
            )

    async def count_tokens(self, inquiry: Inquiry[Request], model: str = "") -> InquiryAnswer[int] | None:
        """See `inquiry.CountingProvider`."""
        place = self._options.places.count
        if place is None:
            return None
        with self._named_errors():
            return await http_inquiry.count_tokens(place(), self._post, inquiry, model or self.default_model or "")

    @asynccontextmanager
    async def raw(self, call: RawCall) -> AsyncIterator[RawReply]:
        """See `raw.RawProvider`. Only an error is read, so that it repeats no secret and its key can be judged."""
        access = await self._options.access()
        with self._named_errors():
            url = access.raw_url(call.path, call.query)
            authorized, key = await access.authorize(call.method, url, call.body or b"")
            async with self._client.send(
                call.method,
                url,
                headers={**call.headers, **authorized},
                body=call.body,
                deadlines=self._options.deadlines,
            ) as reply:
                if reply.status < 400:
                    access.report(key, None)
                    yield reply
                    return
                body = await reply.read(_MAX_RAW_ERROR_BYTES)
                access.report(key, self._codec.decode_error(reply.status, reply.headers, body))
                yield RawError(reply.status, reply.headers, clean_body(body, self._options.secrets))

    async def _post(
        self, path: str, model: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[bytes, Mapping[str, str]]:
        async with self._send(lambda access: access.url_at(path, model), headers, body) as (reply, _):
            return await reply.read(), shown_headers(reply.headers)

    def _noted(self, response: Response, sending: _Sending) -> Response:
        return replace(response, notes=sending.notes) if sending.notes else response

    def _named_errors(self) -> _NamedErrors:
        return _NamedErrors(self.name, self._options.secrets)


@dataclass(frozen=True, slots=True)
class _Sending:
    """A request's body as it goes out. `passed`: it is the caller's own, and so is the answer."""

    body: bytes
    headers: Mapping[str, str]
    notes: tuple[str, ...] = ()
    passed: bool = False


SHOWN_HEADERS: Final = ("x-ratelimit-", "anthropic-ratelimit-")
"""How the names of a provider's headers begin that its callers know and may see."""


def shown_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Those of a reply that are passed on."""
    return {name: value for name, value in headers.items() if name.startswith(SHOWN_HEADERS)}


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


def _at_model(model: str, *, stream: bool) -> _Address:
    """Where conversations with a model are held."""
    return lambda access: access.url_for(model, stream=stream)


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
