"""What can go wrong on the network, as one table from the lower layers' exceptions to ours.

A row holds for one stage of an exchange, since the same exception means different things in different ones; the most
specific row wins. Texts are made from the sentence, the place (host and port) and the system's own reason, and never
from an exception's text, which may hold URLs, query strings and bytes of headers. For the same reason our errors are
raised `from None`.
"""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias, get_args

from httptools import HttpParserError, HttpParserUpgrade

from waypost.errors import MalformedResponse, ProviderConnectionLost, ProviderError, ProviderUnreachable

MAX_HEADER_BYTES = 32 * 1024
"""Of one header line, and of the status line."""
MAX_HEADERS = 256

Stage: TypeAlias = Literal["request", "proxy", "tunnel", "connect", "reply", "body"]
"""Writing the request down; reaching the proxy; its tunnel; reaching the provider; until the headers; after them."""
STAGES: tuple[Stage, ...] = get_args(Stage)

_CHECK_ADDRESS = "Check the provider's base_url, and that its service is running."
_CHECK_REQUEST = "Check the provider's base_url, and its key for a line end that was copied along."
_CHECK_TRUST = "If a proxy or a private authority signs this certificate, name its PEM file as ca_file."
_CHECK_NAME = "Check the provider's base_url for a misspelled name, and this machine's DNS."
_CHECK_PROXY = "Check the address of the proxy, and that it is running."
_CHECK_TUNNEL = "Check the proxy's credentials, and that it allows this address."
_CHECK_TLS = "Check that base_url says https only where the server speaks TLS."


class ConnectionEnded(Exception):
    """The other end closed the connection where it should have sent something."""


class ReplyRefused(Exception):
    """The reply is over a limit on its headers, or is none to this request."""


class TunnelRefused(Exception):
    """The proxy answered CONNECT with this HTTP status; None: with something else than HTTP."""

    def __init__(self, status: int | None) -> None:
        super().__init__()
        self.status = status


@dataclass(frozen=True, slots=True)
class Failure:
    """One row: what the lower layer raises, what we raise instead, what we say. `{detail}` is the reason, if any."""

    raised: type[BaseException]
    error: type[ProviderError]
    sentence: str
    hint: str = ""


_UNSENDABLE = Failure(
    # A header with a line end, credentials given twice, a name that no DNS can hold.
    ValueError,
    ProviderUnreachable,
    "No request can be sent to {place}: the address or one of the headers is not valid HTTP.",
    _CHECK_REQUEST,
)
_UNNAMED = "The name in {place} could not be looked up{detail}."
_UNTRUSTED = "{place} could not prove who it is{detail}."
_TLS_FAILED = "TLS with {place} failed{detail}."
_NO_CONNECTION = "No connection to {place}{detail}."
_NO_PROXY = "No connection to the proxy {place}{detail}."
_NO_TUNNEL = "The proxy opened no tunnel to {place}{detail}."
_LOST = "The connection to {place} broke{detail}."
_CUT = "The connection to {place} broke in the middle of the answer."
_UNANSWERED = "{place} closed the connection unanswered."
_MALFORMED = (
    f"What {{place}} sent is not HTTP, or its headers are over the limit of {MAX_HEADERS} lines"
    f" of {MAX_HEADER_BYTES} bytes each."
)
_NOT_HTTP = (
    Failure(HttpParserError, MalformedResponse, _MALFORMED, _CHECK_ADDRESS),
    Failure(HttpParserUpgrade, MalformedResponse, _MALFORMED, _CHECK_ADDRESS),
    Failure(ReplyRefused, MalformedResponse, _MALFORMED, _CHECK_ADDRESS),
)
_ROWS: dict[Stage, tuple[Failure, ...]] = {
    "request": (_UNSENDABLE,),
    "proxy": (
        _UNSENDABLE,
        Failure(OSError, ProviderUnreachable, _NO_PROXY, _CHECK_PROXY),
        Failure(ConnectionEnded, ProviderUnreachable, _NO_PROXY, _CHECK_PROXY),
    ),
    "tunnel": (
        Failure(OSError, ProviderUnreachable, _NO_TUNNEL, _CHECK_TUNNEL),
        Failure(ConnectionEnded, ProviderUnreachable, _NO_TUNNEL, _CHECK_TUNNEL),
        Failure(TunnelRefused, ProviderUnreachable, _NO_TUNNEL, _CHECK_TUNNEL),
    ),
    "connect": (
        _UNSENDABLE,
        Failure(OSError, ProviderUnreachable, _NO_CONNECTION, _CHECK_ADDRESS),
        Failure(socket.gaierror, ProviderUnreachable, _UNNAMED, _CHECK_NAME),
        Failure(ssl.SSLError, ProviderUnreachable, _TLS_FAILED, _CHECK_TLS),
        # In the middle of a handshake: TCP's own failures of it are OSErrors too.
        Failure(ConnectionResetError, ProviderUnreachable, _NO_CONNECTION, _CHECK_ADDRESS),
        Failure(ssl.SSLCertVerificationError, ProviderUnreachable, _UNTRUSTED, _CHECK_TRUST),
    ),
    "reply": (
        # A pooled connection that the server closed just before we wrote to it comes as one of these two: nothing
        # came back, so the caller may try again.
        Failure(ConnectionEnded, ProviderConnectionLost, _UNANSWERED),
        Failure(OSError, ProviderConnectionLost, _LOST),
        *_NOT_HTTP,
    ),
    "body": (
        Failure(ConnectionEnded, ProviderConnectionLost, _CUT),
        Failure(OSError, ProviderConnectionLost, _LOST),
        *_NOT_HTTP,
    ),
}


@cache
def failures(stage: Stage) -> dict[type[BaseException], Failure]:
    """The rows of one stage, by class raised."""
    return {row.raised: row for row in _ROWS[stage]}


@cache
def caught(stage: Stage) -> tuple[type[BaseException], ...]:
    """What an `except` around the lower layer names."""
    return tuple(failures(stage))


def translate(error: BaseException, stage: Stage, place: str) -> ProviderError:
    """Our error for one of `caught(stage)`. To be raised `from None` (see the module)."""
    table = failures(stage)
    row = next(table[ancestor] for ancestor in type(error).__mro__ if ancestor in table)
    detail = _detail(error)
    return row.error(row.sentence.format(place=place, detail=f": {detail}" if detail else ""), hint=row.hint)


def _detail(error: BaseException) -> str:
    if isinstance(error, TunnelRefused):
        return f"HTTP status {error.status}" if error.status else "it does not speak HTTP"
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return error.strerror or "the name is not known"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return ""
