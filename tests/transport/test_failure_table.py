"""The table of network failures is complete, and the most specific row wins."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

import pytest
from httptools.parser import errors as parser_errors

from waypost.errors import MalformedResponse, ProviderConnectionLost, ProviderError, ProviderUnreachable
from waypost.transport.failures import (
    STAGES,
    ConnectionEnded,
    ReplyRefused,
    Stage,
    TunnelRefused,
    caught,
    failures,
    translate,
)

ON_THE_WAY: dict[Stage, type[ProviderError]] = {
    "proxy": ProviderUnreachable,
    "tunnel": ProviderUnreachable,
    "connect": ProviderUnreachable,
    "reply": ProviderConnectionLost,
    "body": ProviderConnectionLost,
}
"""What a broken network means in each stage: without a connection nothing was sent, so nothing was lost."""


def with_subclasses(root: type[BaseException]) -> Iterator[type[BaseException]]:
    yield root
    for child in root.__subclasses__():
        yield from with_subclasses(child)


def meaning(kind: type[BaseException], stage: Stage) -> type[ProviderError] | None:
    table = failures(stage)
    return next((table[ancestor].error for ancestor in kind.__mro__ if ancestor in table), None)


def test_every_stage_has_rows() -> None:
    assert [stage for stage in STAGES if not failures(stage)] == []


@pytest.mark.parametrize("stage", ON_THE_WAY)
@pytest.mark.parametrize("kind", [OSError, ConnectionResetError, BrokenPipeError, TimeoutError, ssl.SSLError])
def test_the_system_s_errors_have_a_meaning_in_every_stage(kind: type[BaseException], stage: Stage) -> None:
    assert meaning(kind, stage) is ON_THE_WAY[stage]


@pytest.mark.parametrize("stage", ["reply", "body"])
@pytest.mark.parametrize("name", parser_errors.__all__)
def test_every_error_of_the_parser_is_a_malformed_response(name: str, stage: Stage) -> None:
    """One that a later version adds is caught here, not by a user."""
    assert meaning(getattr(parser_errors, name), stage) is MalformedResponse


@pytest.mark.parametrize(
    ("kind", "stages"),
    [
        (ConnectionEnded, {"proxy", "tunnel", "reply", "body"}),
        (ReplyRefused, {"reply", "body"}),
        (TunnelRefused, {"tunnel"}),
        (ValueError, {"request", "proxy", "connect"}),
        # What is not of the network is not caught, so that defects are seen.
        (EOFError, set()),
    ],
)
def test_an_error_is_caught_only_where_it_can_be_raised(kind: type[BaseException], stages: set[Stage]) -> None:
    assert {stage for stage in STAGES if issubclass(kind, caught(stage))} == stages


@pytest.mark.parametrize("kind", dict.fromkeys(with_subclasses(ssl.SSLError)))
def test_every_error_of_tls_is_told_as_one_of_tls(kind: type[BaseException]) -> None:
    """And not as a connection that was not made."""
    table = failures("connect")
    row = next(table[ancestor] for ancestor in kind.__mro__ if ancestor in table)
    assert "TLS" in row.sentence or "prove who it is" in row.sentence


@pytest.mark.parametrize(
    ("error", "stage", "message"),
    [
        (
            ConnectionResetError(errno.ECONNRESET, "SECRET"),
            "body",
            "The connection to host:1 broke: Connection reset by peer.",
        ),
        (OSError("SECRET"), "reply", "The connection to host:1 broke."),
        (ConnectionEnded("SECRET"), "reply", "host:1 closed the connection unanswered."),
        (ConnectionEnded("SECRET"), "body", "The connection to host:1 broke in the middle of the answer."),
        (
            socket.gaierror(socket.EAI_NONAME, "Name not known"),
            "connect",
            "The name in host:1 could not be looked up: Name not known.",
        ),
        (
            socket.gaierror(socket.EAI_NONAME, "Name not known"),
            "proxy",
            "No connection to the proxy host:1: Name not known.",
        ),
        (TunnelRefused(403), "tunnel", "The proxy opened no tunnel to host:1: HTTP status 403."),
        (TunnelRefused(None), "tunnel", "The proxy opened no tunnel to host:1: it does not speak HTTP."),
        (
            ValueError("SECRET"),
            "request",
            "No request can be sent to host:1: the address or one of the headers is not valid HTTP.",
        ),
    ],
)
def test_a_text_is_ours_and_never_the_exception_s(error: Exception, stage: Stage, message: str) -> None:
    assert translate(error, stage, "host:1").message == message
