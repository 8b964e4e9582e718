"""The table of network failures is complete, and the most specific row wins."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

import aiohttp
import pytest

from waypost.errors import MalformedResponse, ProviderConnectionLost, ProviderError, ProviderUnreachable
from waypost.transport.failures import Failure, caught, failures, join_place, place_of, translate

EXPECTED: dict[str, type[ProviderError]] = {
    "ClientError": ProviderConnectionLost,
    "ClientConnectionError": ProviderConnectionLost,
    "ClientConnectionResetError": ProviderConnectionLost,
    "ClientOSError": ProviderConnectionLost,
    "ClientPayloadError": ProviderConnectionLost,
    "ServerConnectionError": ProviderConnectionLost,
    "ServerDisconnectedError": ProviderConnectionLost,
    "ServerTimeoutError": ProviderConnectionLost,
    "SocketTimeoutError": ProviderConnectionLost,
    "UploadAbortedError": ProviderConnectionLost,
    "ClientConnectorError": ProviderUnreachable,
    "ClientConnectorCertificateError": ProviderUnreachable,
    "ClientConnectorDNSError": ProviderUnreachable,
    "ClientConnectorSSLError": ProviderUnreachable,
    "ClientHttpProxyError": ProviderUnreachable,
    "ClientProxyConnectionError": ProviderUnreachable,
    "ClientSSLError": ProviderUnreachable,
    "ConnectionTimeoutError": ProviderUnreachable,
    "InvalidURL": ProviderUnreachable,
    "InvalidUrlClientError": ProviderUnreachable,
    "NonHttpUrlClientError": ProviderUnreachable,
    "ServerFingerprintMismatch": ProviderUnreachable,
    "UnixClientConnectorError": ProviderUnreachable,
    "ClientResponseError": MalformedResponse,
    "ContentTypeError": MalformedResponse,
    "InvalidUrlRedirectClientError": MalformedResponse,
    "NonHttpUrlRedirectClientError": MalformedResponse,
    "RedirectClientError": MalformedResponse,
    "TooManyRedirects": MalformedResponse,
    "WSServerHandshakeError": MalformedResponse,
}
"""What each of aiohttp's errors means. A class it adds later fails the test until its meaning is decided."""


def with_subclasses(root: type[BaseException]) -> Iterator[type[BaseException]]:
    yield root
    for child in root.__subclasses__():
        yield from with_subclasses(child)


def row_of(kind: type[BaseException]) -> Failure:
    table = failures()
    return next(table[ancestor] for ancestor in kind.__mro__ if ancestor in table)


@pytest.mark.parametrize("kind", dict.fromkeys(with_subclasses(aiohttp.ClientError)))
def test_every_error_of_aiohttp_has_a_meaning(kind: type[BaseException]) -> None:
    assert row_of(kind).error is EXPECTED[kind.__name__]


def test_only_the_root_has_the_root_s_row() -> None:
    """Every other class is told by a row that says more than that something failed."""
    vague = failures()[aiohttp.ClientError]
    assert [kind for kind in with_subclasses(aiohttp.ClientError) if row_of(kind) is vague] == [aiohttp.ClientError]


@pytest.mark.parametrize("kind", [OSError, ConnectionResetError, BrokenPipeError, TimeoutError, ssl.SSLError, EOFError])
def test_the_system_s_errors_are_caught_too(kind: type[Exception]) -> None:
    """EOFError is the counter-example: what is not of the network is not caught, so that defects are seen."""
    assert issubclass(kind, caught()) is (kind is not EOFError)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionResetError(errno.ECONNRESET, "SECRET"), "The connection to host:1 broke: Connection reset by peer."),
        (OSError("SECRET"), "The connection to host:1 broke."),
        (aiohttp.ClientOSError(None, "SECRET"), "The connection to host:1 broke."),
        (socket.gaierror(socket.EAI_NONAME, "Name not known"), "The connection to host:1 broke: Name not known."),
        (aiohttp.ServerDisconnectedError("SECRET"), "host:1 closed the connection unanswered."),
        (
            ValueError("SECRET"),
            "No request can be sent to host:1: the address or one of the headers is not valid HTTP.",
        ),
    ],
)
def test_a_text_is_ours_and_never_the_exception_s(error: Exception, message: str) -> None:
    assert translate(error, "host:1").message == message


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://api.example.com/v1?key=SECRET", "api.example.com:443"),
        ("http://user:SECRET@127.0.0.1:8080/v1", "127.0.0.1:8080"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("http://SECRET@[::1", "the provider's address"),
        ("http://SECRET:port@", "the provider's address"),
        ("http://host:99999/", "the provider's address"),
        ("host", "the provider's address"),
    ],
)
def test_a_place_is_host_and_port_only(url: str, place: str) -> None:
    assert place_of(url) == place


def test_a_place_without_port_is_the_host() -> None:
    assert join_place("host", None) == "host"
