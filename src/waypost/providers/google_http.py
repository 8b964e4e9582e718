"""How google-auth sends its few small requests: by the standard library, so that it needs no HTTP package of its own.

Blocks; it is only called in threads. Redirects are not followed: they would take the credentials along.
"""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from google.auth import exceptions, transport

_MAX_REPLY_BYTES: Final = 1024 * 1024


class GoogleReply(transport.Response):
    """A whole reply."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self._status = status
        self._headers = headers
        self._data = data

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, without regard to case."""
        return self._headers

    @property
    def data(self) -> bytes:
        """Its body, cut at a megabyte."""
        return self._data


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        """None makes urllib treat the redirect as an error reply, which it is here."""
        return


class UrllibRequest(transport.Request):
    """Implements google-auth's `Request`. The proxy is for https only: the machine's metadata server is beside it."""

    def __init__(self, timeout_s: float, *, proxy: str | None = None, ca_file: Path | None = None) -> None:
        self._timeout_s = timeout_s
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({"https": proxy} if proxy else {}),
            urllib.request.HTTPSHandler(context=context),
            _NoRedirects(),
        )

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_others: Any,
    ) -> GoogleReply:
        """Send one request. Raises google-auth's TransportError."""
        if not url.startswith(("http://", "https://")):
            raise _failure("the address is none of the web")
        data = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(url, data, dict(headers or {}), method=method)  # noqa: S310 - checked above
        try:
            with self._open(request, min(timeout or self._timeout_s, self._timeout_s)) as reply:
                return GoogleReply(reply.status, reply.headers, reply.read(_MAX_REPLY_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise _failure(type(error).__name__) from error

    def _open(self, request: urllib.request.Request, timeout_s: float) -> Any:
        try:
            return self._opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as reply:
            return reply


def _failure(text: str) -> Exception:
    made: Exception = exceptions.TransportError(text)  # type: ignore[no-untyped-call]
    return made
