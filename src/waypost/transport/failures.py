"""What can go wrong on the network, as one table from the lower layers' exceptions to ours.

The most specific row wins. Texts are made from the sentence, the place (host and port) and the system's own reason,
and never from an exception's text: aiohttp writes whole URLs, query strings and bytes of headers into those.
For the same reason our errors are raised `from None`: a chained aiohttp error carries the request's headers.
"""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from waypost.errors import MalformedResponse, ProviderConnectionLost, ProviderError, ProviderUnreachable

MAX_HEADER_BYTES = 32 * 1024
"""Of one header line, and of the status line."""
MAX_HEADERS = 256

_DEFAULT_PORTS = {"http": 80, "https": 443}
_CHECK_ADDRESS = "Check the provider's base_url, and that its service is running."
_CHECK_REQUEST = "Check the provider's base_url, and its key for a line end that was copied along."
_CHECK_TRUST = "If a proxy or a private authority signs this certificate, name its PEM file as ca_file."


@dataclass(frozen=True, slots=True)
class Failure:
    """One row: what the lower layer raises, what we raise instead, what we say. `{detail}` is the reason, if any."""

    raised: type[BaseException]
    error: type[ProviderError]
    sentence: str
    hint: str = ""


@cache
def failures() -> dict[type[BaseException], Failure]:
    """The table, by class raised. Built on first use, because it imports aiohttp."""
    import aiohttp
    from aiohttp.http import HttpProcessingError

    refused = "No connection to {place}{detail}."
    lost = "The connection to {place} broke{detail}."
    cut = "The connection to {place} broke in the middle of the answer."
    untrusted = "{place} could not prove who it is{detail}."
    malformed = (
        f"What {{place}} sent is not HTTP, or its headers are over the limit of {MAX_HEADERS} lines"
        f" of {MAX_HEADER_BYTES} bytes each."
    )
    unsendable = "No request can be sent to {place}: the address or one of the headers is not valid HTTP."
    astray = "{place} sent a redirect that leads nowhere."
    rows = (
        # No connection was made.
        Failure(aiohttp.ClientConnectorError, ProviderUnreachable, refused, _CHECK_ADDRESS),
        Failure(
            aiohttp.ClientConnectorDNSError,
            ProviderUnreachable,
            "The name in {place} could not be looked up{detail}.",
            "Check the provider's base_url for a misspelled name, and this machine's DNS.",
        ),
        Failure(
            aiohttp.ClientProxyConnectionError,
            ProviderUnreachable,
            "No connection to the proxy {place}{detail}.",
            "Check the address of the proxy, and that it is running.",
        ),
        Failure(
            aiohttp.ClientHttpProxyError,
            ProviderUnreachable,
            "The proxy opened no tunnel to {place}{detail}.",
            "Check the proxy's credentials, and that it allows this address.",
        ),
        Failure(
            aiohttp.ClientSSLError,
            ProviderUnreachable,
            "TLS with {place} failed{detail}.",
            "Check that base_url says https only where the server speaks TLS.",
        ),
        Failure(aiohttp.ClientConnectorCertificateError, ProviderUnreachable, untrusted, _CHECK_TRUST),
        Failure(aiohttp.ServerFingerprintMismatch, ProviderUnreachable, untrusted, _CHECK_TRUST),
        Failure(aiohttp.ConnectionTimeoutError, ProviderUnreachable, refused, _CHECK_ADDRESS),
        Failure(aiohttp.InvalidURL, ProviderUnreachable, unsendable, _CHECK_REQUEST),
        Failure(aiohttp.NonHttpUrlClientError, ProviderUnreachable, unsendable, _CHECK_REQUEST),
        # A header with a line end, credentials given twice, a name that no DNS can hold: plain ValueErrors.
        Failure(ValueError, ProviderUnreachable, unsendable, _CHECK_REQUEST),
        # It was made, and then broke. A pooled connection that the server closed just before we wrote to it comes
        # as ServerDisconnectedError or a reset too: nothing came back, so the caller may try again.
        Failure(aiohttp.ServerDisconnectedError, ProviderConnectionLost, "{place} closed the connection unanswered."),
        Failure(aiohttp.ClientConnectionError, ProviderConnectionLost, lost),
        Failure(aiohttp.ClientConnectionResetError, ProviderConnectionLost, lost),
        Failure(aiohttp.ClientOSError, ProviderConnectionLost, lost),
        Failure(aiohttp.ClientPayloadError, ProviderConnectionLost, cut),
        Failure(aiohttp.UploadAbortedError, ProviderConnectionLost, "{place} did not take the whole request."),
        # aiohttp's own timeouts are off (see `deadlines`), so that this one is the system's.
        Failure(aiohttp.ServerTimeoutError, ProviderConnectionLost, lost),
        Failure(OSError, ProviderConnectionLost, lost),
        # Something came that is not HTTP.
        Failure(aiohttp.ClientResponseError, MalformedResponse, malformed, _CHECK_ADDRESS),
        Failure(aiohttp.RedirectClientError, MalformedResponse, astray),
        Failure(aiohttp.InvalidUrlRedirectClientError, MalformedResponse, astray),
        Failure(aiohttp.NonHttpUrlRedirectClientError, MalformedResponse, astray),
        Failure(HttpProcessingError, MalformedResponse, malformed, _CHECK_ADDRESS),
        Failure(aiohttp.ClientError, ProviderConnectionLost, "The exchange with {place} failed."),
    )
    return {row.raised: row for row in rows}


@cache
def caught() -> tuple[type[BaseException], ...]:
    """What an `except` around the lower layer names."""
    return tuple(failures())


def translate(error: BaseException, place: str) -> ProviderError:
    """Our error for one of `caught()`. To be raised `from None` (see the module)."""
    table = failures()
    row = next(table[ancestor] for ancestor in type(error).__mro__ if ancestor in table)
    # A connection that was not made names its own end, which may be the proxy's rather than the provider's.
    host, port = getattr(error, "host", None), getattr(error, "port", None)
    where = join_place(host, port) if isinstance(host, str) and isinstance(port, int) else place
    detail = _detail(error)
    return row.error(row.sentence.format(place=where, detail=f": {detail}" if detail else ""), hint=row.hint)


def _detail(error: BaseException) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return cause.reason.replace("_", " ").lower()
    if isinstance(cause, socket.gaierror):
        return cause.strerror or "the name is not known"
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    status = getattr(error, "status", None)
    return f"HTTP status {status}" if status else ""


def place_of(url: str) -> str:
    """Host and port of a URL, for messages: no credentials, no path, no query."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        host, port = None, None
    return join_place(host, port) if host else "the provider's address"


def join_place(host: str, port: int | None) -> str:
    """`host:port`, with the brackets that an IPv6 address needs."""
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"
