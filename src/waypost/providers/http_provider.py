"""A provider reached over HTTP: one codec, one connection pool, one place that says where and with which headers.

Vendors differ only in their table row (`vendor.py`) and in the way into their account (`access.py`); nothing here
knows any of them. Holds no retries: those are the gateway's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from waypost.chat import EmbeddingRequest, EmbeddingResponse, Request
from waypost.codecs.codec import Codec
from waypost.codecs.custom_tools import CustomCalls, custom_calls
from waypost.errors import MalformedResponse, ProviderError, ProviderRateLimited
from waypost.providers import http_inquiry
from waypost.providers.access import ProviderAccess
from waypost.providers.answers import Answer, AnswerStream, StreamOpening
from waypost.providers.asked import Asked
from waypost.providers.batch_api import ApiCall, BatchApi, Sender
from waypost.providers.gate import PreferredKey, through
from waypost.providers.http_inquiry import NO_PLACES, Places
from waypost.providers.http_stream import DecodedStream, PassedStream, StreamFacts, WireStream
from waypost.providers.inquiry import Inquiry, InquiryAnswer
from waypost.providers.key_ring import Key
from waypost.providers.provider import ProviderState
from waypost.providers.raw import RawCall, RawError, RawReply
from waypost.providers.secrets import clean, clean_body
from waypost.transport import Deadlines, HttpClient, Reply

_MAX_ERROR_BODY_BYTES = 64 * 1024
_MAX_RAW_ERROR_BYTES = 1024 * 1024
BATCH_TOTAL_S: Final = 3600.0
"""How long one call of a batch API may take: its files are of hundreds of megabytes."""


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
    batches: Callable[[Sender], BatchApi] | None = None
    """Makes the client of its batch API."""


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
        self._named_errors = _NamedErrors(options.name, options.secrets)
        self._batches: BatchApi | None = None

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
        with self._named_errors:
            sending = self._sending(asked, model, stream=False)
            reply, key_label = await self._opened(_at_model(model, stream=False), sending.headers, sending.body)
            try:
                body = await reply.read()
            finally:
                reply.close()
            answer = self._answer(body, shown_headers(reply.headers, self._options.secrets), sending)
            answer.key_label = key_label
            return answer

    def stream(self, asked: Asked, model: str = "") -> StreamOpening:
        """The answer as batches of events. Raises ProviderError, also in the middle."""
        return _Streaming(self, asked, model or self.default_model or "")

    async def open_stream(self, asked: Asked, model: str) -> tuple[Reply, WireStream]:
        """The reply, which the caller closes, and the answer in it."""
        with self._named_errors:
            sending = self._sending(asked, model, stream=True)
            reply, key_label = await self._opened(_at_model(model, stream=True), sending.headers, sending.body)
            try:
                _demand_event_stream(reply)
            except ProviderError:
                reply.close()
                raise
            stream = self._wire_stream(reply, sending, asked)
            stream.key_label = key_label
            return reply, stream

    def _answer(self, body: bytes, headers: Mapping[str, str], sending: _Sending) -> Answer:
        if sending.passed:
            seen = self._codec.watch_response(body)
            return Answer(seen.model, seen.usage, body=body, decode=self._codec.decode_response, headers=headers)
        response = self._codec.decode_response(body)
        if sending.custom is not None:
            response = sending.custom.response(response)
        return Answer.of(replace(response, notes=sending.notes) if sending.notes else response, headers)

    def _wire_stream(self, reply: Reply, sending: _Sending, asked: Asked) -> WireStream:
        about = StreamFacts(shown_headers(reply.headers, self._options.secrets), sending.notes, self._named_errors.name)
        if not sending.passed:
            decoder = self._codec.stream_decoder(choices=asked.choices)
            return DecodedStream(reply, about, decoder, sending.custom)
        watch = self._codec.stream_watch(choices=asked.choices)
        tell_usage = asked.written is None or asked.written.seen.include_usage
        return PassedStream(reply, about, self._codec, watch, usage=tell_usage)

    def _sending(self, asked: Asked, model: str, *, stream: bool) -> _Sending:
        """The caller's own bytes where they fit, else the canonical request encoded."""
        written = asked.written_in(self._codec.name)
        if written is not None:
            return _Sending(written.body_for(model, self.name), written.headers, passed=True)
        request = asked.request
        encoded = self._codec.encode_request(replace(request, model=model), stream=stream)
        notes = tuple(str(loss) for loss in encoded.losses)
        return _Sending(encoded.body, {}, notes, custom=custom_calls(request))

    async def _opened(self, place: _Address, headers: Mapping[str, str], body: bytes) -> tuple[Reply, str | None]:
        """The reply of a call that was taken, which the caller closes, and the key that is told to have gone with it.

        Raises ProviderError for any other.
        """
        access = await self._options.access()
        url = place(access)
        authorized, key = await access.authorize("POST", url, body)
        headers = {"content-type": "application/json", **headers, **authorized}
        reply = await self._client.open("POST", url, headers=headers, body=body, deadlines=self._options.deadlines)
        return await self._taken(reply, access, key), key.told_label if key else None

    async def _taken(self, reply: Reply, access: ProviderAccess, key: Key | None) -> Reply:
        """The reply of a call that was taken. Raises ProviderError for any other."""
        if reply.status < 300:
            access.report(key, None)
            return reply
        try:
            if reply.status < 400:
                raise _redirected(reply)
            error = self._codec.decode_error(reply.status, reply.headers, await reply.read(_MAX_ERROR_BODY_BYTES))
        finally:
            reply.close()
        error.key_label = key.told_label if key else None
        error.another_key = access.report(key, error)
        raise error

    async def embed(self, inquiry: Inquiry[EmbeddingRequest], model: str = "") -> InquiryAnswer[EmbeddingResponse]:
        """See `inquiry.EmbeddingProvider`."""
        with self._named_errors:
            return await http_inquiry.embed(
                self._options.places, self._post, inquiry, model or self.default_model or ""
            )

    async def count_tokens(self, inquiry: Inquiry[Request], model: str = "") -> InquiryAnswer[int] | None:
        """See `inquiry.CountingProvider`."""
        place = self._options.places.count
        if place is None:
            return None
        with self._named_errors:
            return await http_inquiry.count_tokens(place(), self._post, inquiry, model or self.default_model or "")

    @asynccontextmanager
    async def raw(self, call: RawCall) -> AsyncIterator[RawReply]:
        """See `raw.RawProvider`. Only an error is read, so that it repeats no secret and its key can be judged."""
        access = await self._options.access()
        with self._named_errors:
            url = access.raw_url(call.path, call.query)
            whole = call.body if isinstance(call.body, bytes) else b""
            authorized, key = await access.authorize(call.method, url, whole)
            async with self._client.send(
                call.method,
                url,
                headers={**call.headers, **authorized},
                body=call.body,
                deadlines=self._options.deadlines,
            ) as reply:
                reply.headers = {name: clean(value, self._options.secrets) for name, value in reply.headers.items()}
                if reply.status < 400:
                    access.report(key, None)
                    yield reply
                    return
                body = await reply.read(_MAX_RAW_ERROR_BYTES)
                access.report(key, self._codec.decode_error(reply.status, reply.headers, body))
                yield RawError(reply.status, reply.headers, clean_body(body, self._options.secrets))

    @property
    def codec(self) -> Codec:
        """See `batch_api.Sender`."""
        return self._codec

    @property
    def batches(self) -> BatchApi | None:
        """See `batch_api.BatchingProvider`."""
        if self._batches is None and self._options.batches is not None:
            self._batches = self._options.batches(self)
        return self._batches

    async def batch_key(self) -> str | None:
        """See `batch_api.BatchingProvider`."""
        return (await self._options.access()).next_key()

    def batched(self, asked: Asked, model: str) -> tuple[bytes, tuple[str, ...]]:
        """See `batch_api.BatchingProvider`."""
        sending = self._sending(asked, model, stream=False)
        return sending.body, sending.notes

    async def send(self, call: ApiCall) -> Reply:
        """See `batch_api.Sender`. It may take as long as a large file takes."""
        access = await self._options.access()
        deadlines = replace(self._options.deadlines, total_s=BATCH_TOTAL_S)
        with self._named_errors:
            url = access.url_at(call.path, "")
            with through(PreferredKey(call.key)):
                authorized, key = await access.authorize(call.method, url, b"")
            if call.key is not None and (key is None or key.label != call.key):
                raise ProviderRateLimited(f"The key {call.key} of the provider rests.", status=429)
            headers = {**call.headers, **authorized}
            reply = await self._client.open(call.method, url, headers=headers, body=call.body, deadlines=deadlines)
            return await self._taken(reply, access, key)

    def named(self, error: ProviderError) -> ProviderError:
        """See `batch_api.Sender`."""
        self._named_errors.name(error)
        return error

    async def _post(
        self, path: str, model: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[bytes, Mapping[str, str]]:
        reply, _ = await self._opened(lambda access: access.url_at(path, model), headers, body)
        try:
            return await reply.read(), shown_headers(reply.headers, self._options.secrets)
        finally:
            reply.close()


class _Sending(msgspec.Struct, frozen=True):
    """A request's body as it goes out. `passed`: it is the caller's own, and so is the answer."""

    body: bytes
    headers: Mapping[str, str]
    notes: tuple[str, ...] = ()
    passed: bool = False
    custom: CustomCalls | None = None
    """Turns calls back into those of the caller's custom tools, where the provider knows functions only."""


SHOWN_HEADERS: Final = ("x-ratelimit-", "anthropic-ratelimit-")
"""How the names of a provider's headers begin that its callers know and may see."""


def shown_headers(headers: Mapping[str, str], secrets: tuple[str, ...] = ()) -> Mapping[str, str]:
    """Those of a reply that are passed on, without anything that looks like a key."""
    return {name: clean(value, secrets) for name, value in headers.items() if name.startswith(SHOWN_HEADERS)}


class _NamedErrors:
    """Gives every ProviderError that passes the provider's name, and takes our secrets out of its text.

    It holds no state of a call: one serves all.
    """

    def __init__(self, name: str, secrets: tuple[str, ...]) -> None:
        self._name = name
        self._secrets = secrets

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, ProviderError):
            self.name(error)

    def name(self, error: ProviderError) -> None:
        """The same for one error."""
        if error.provider is not None:
            return
        error.provider = self._name
        for field_name in ("message", "hint", "provider_code", "param", "request_id"):
            text = getattr(error, field_name)
            setattr(error, field_name, clean(text, self._secrets) if text else text)
        error.args = (error.message,)


class _Streaming:
    """A stream's block: opened at its beginning, closed at its end. It is entered for every stream, so no generator."""

    __slots__ = ("_asked", "_model", "_provider", "_reply")

    def __init__(self, provider: HttpProvider, asked: Asked, model: str) -> None:
        self._provider = provider
        self._asked = asked
        self._model = model
        self._reply: Reply | None = None

    async def __aenter__(self) -> AnswerStream:
        self._reply, stream = await self._provider.open_stream(self._asked, self._model)
        return stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._reply is not None:
            self._reply.close()


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
