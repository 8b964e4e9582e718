"""Where a provider is reached and with what right: the addresses, and the headers that authorize one request.

The mechanism that sends (`http_provider.py`) asks here for both and reports back how it went. Nothing is sent here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from waypost.errors import ProviderAuthenticationError, ProviderError, ProviderQuotaExceeded, ProviderRateLimited
from waypost.providers.authorization import Authorization
from waypost.providers.gate import current_gate
from waypost.providers.key_ring import Key, KeyRing
from waypost.providers.raw_path import raw_url

_LOG = logging.getLogger("waypost.providers")


class ProviderAccess(Protocol):
    """The way into one provider account."""

    def url_for(self, model: str, *, stream: bool) -> str:
        """The address that answers with this model, whole or as a stream."""

    async def authorize(self, method: str, url: str, body: bytes) -> tuple[Mapping[str, str], Key | None]:
        """The headers for exactly this request, and the key that went in. Raises ProviderError. Not to be changed."""

    def next_key(self) -> str | None:
        """The label of the key whose turn it is, which goes on to be the next one. None: there are no keys in turn."""

    def report(self, key: Key | None, error: ProviderError | None) -> bool:
        """How the request with that key ended; None: the provider let it in.

        True: the error is about the key, and another is ready, so that the call may be made again at once.
        """

    def url_at(self, path: str, model: str) -> str:
        """The address of a path that we know ourselves; "{model}" in it stands for the model."""

    def raw_url(self, path: str, query: str = "") -> str:
        """The address of another of the provider's paths. Raises InvalidRequest if it would lead elsewhere."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """A provider's addresses: `path` and `stream_path` follow `base_url`; "{model}" in them stands for the model.

    `raw_query` goes with every other path, unless the caller gives the parameter.
    """

    base_url: str
    path: str
    stream_path: str | None = None
    raw_query: Mapping[str, str] | None = None

    def url_for(self, model: str, *, stream: bool) -> str:
        """See `ProviderAccess`."""
        return self.url_at(self.stream_path if stream and self.stream_path is not None else self.path, model)

    def url_at(self, path: str, model: str) -> str:
        """See `ProviderAccess`."""
        if "{model}" in path:
            path = path.replace("{model}", quote(model, safe=""))
        return self.base_url + path

    def raw_url(self, path: str, query: str = "") -> str:
        """See `ProviderAccess`."""
        return raw_url(self.base_url, path, query, self.raw_query or {})


class KeyedAccess:
    """By one of several keys, in turn. `headers_of` gives all headers of a request with a key."""

    def __init__(
        self, name: str, addresses: Addresses, ring: KeyRing, headers_of: Callable[[str], Mapping[str, str]]
    ) -> None:
        self._name = name
        self._addresses = addresses
        self._ring = ring
        self._headers = {key.label: headers_of(key.secret) for key in ring.keys}

    def url_for(self, model: str, *, stream: bool) -> str:
        """See `ProviderAccess`."""
        return self._addresses.url_for(model, stream=stream)

    def url_at(self, path: str, model: str) -> str:
        """See `ProviderAccess`."""
        return self._addresses.url_at(path, model)

    def raw_url(self, path: str, query: str = "") -> str:
        """See `ProviderAccess`."""
        return self._addresses.raw_url(path, query)

    async def authorize(self, _method: str, _url: str, body: bytes) -> tuple[Mapping[str, str], Key | None]:
        """If all keys rest, the one that is ready soonest is tried all the same: the provider has the last word.

        Its limits may be of one model only, and a key that was refused may have been put right.
        """
        gate = current_gate()
        if gate is None:
            key = self._ring.next().key
        else:
            key = self._ring.next(gate.preferred_key(self._name)).key
            await gate.enter(self._name, key.label, len(body))
        return self._headers[key.label], key

    def next_key(self) -> str | None:
        """See `ProviderAccess`."""
        return self._ring.next().key.label

    def report(self, key: Key | None, error: ProviderError | None) -> bool:
        """A key that is refused, without credit or at its limit rests. Anything else says nothing about it."""
        match error:
            case _ if key is None:
                return False
            case None:
                self._ring.accepted(key)
                return False
            case ProviderAuthenticationError() | ProviderQuotaExceeded():
                rest_s = self._ring.refused(key)
                _LOG.warning("%s: key %s rests for %.0f s (%s)", self._name, key.label, rest_s, error.code)
            case ProviderRateLimited():
                self._ring.limited(key, error.retry_after_s)
                if (gate := current_gate()) is not None:
                    gate.limited(self._name, key.label, error.retry_after_s)
            case _:
                return False
        return self._ring.has_ready()


class SignedAccess:
    """By an `Authorization` that makes headers for each request; `headers` go with all of them."""

    def __init__(
        self, name: str, addresses: Addresses, authorization: Authorization, headers: Mapping[str, str]
    ) -> None:
        self._name = name
        self._addresses = addresses
        self._authorization = authorization
        self._fixed = headers

    def url_for(self, model: str, *, stream: bool) -> str:
        """See `ProviderAccess`."""
        return self._addresses.url_for(model, stream=stream)

    def url_at(self, path: str, model: str) -> str:
        """See `ProviderAccess`."""
        return self._addresses.url_at(path, model)

    def raw_url(self, path: str, query: str = "") -> str:
        """See `ProviderAccess`."""
        return self._addresses.raw_url(path, query)

    async def authorize(self, method: str, url: str, body: bytes) -> tuple[Mapping[str, str], Key | None]:
        """There is no key among several to name."""
        if (gate := current_gate()) is not None:
            await gate.enter(self._name, "", len(body))
        return {**await self._authorization.headers(method, url, body), **self._fixed}, None

    def next_key(self) -> str | None:
        """See `ProviderAccess`."""
        return None

    def report(self, _key: Key | None, error: ProviderError | None) -> bool:
        """What the authorization makes of it."""
        if isinstance(error, ProviderRateLimited) and (gate := current_gate()) is not None:
            gate.limited(self._name, "", error.retry_after_s)
        return self._authorization.report(error)
