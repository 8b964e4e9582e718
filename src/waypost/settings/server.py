"""The settings of the HTTP server, and the rule that only one with keys is open to other machines: see `exposure`."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from waypost.settings.fields import MEBIBYTE, Part, Seconds, SizeBytes, refuse_boolean, web_address

ONLY_LOOPBACK: Final = "Without keys Waypost only listens on loopback"


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _origin(text: str) -> str:
    if text == "*":
        raise ValueError("may not be *, which would let any web page use this server; name each site")
    address = urlsplit(web_address(text))
    if address.path.strip("/") or address.query or address.fragment or address.username:
        raise ValueError("must be a site without a path, such as http://localhost:3000")
    return text.rstrip("/").lower()


def _host_name(text: str) -> str:
    if not text or any(character in "/@ " for character in text):
        raise ValueError("must be a host name such as waypost.example.com")
    return text.lower()


def is_exposed(host: str) -> bool:
    """May other machines reach what listens there?"""
    try:
        return not (host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return True


def exposure(host: str, has_keys: Callable[[], bool]) -> str | None:
    """What is wrong with listening on `host`, as a sentence's end; None if nothing is.

    `has_keys` is only asked if it matters: the keys may be in a database.
    """
    if not is_exposed(host) or has_keys():
        return None
    return f'is "{host}". {ONLY_LOOPBACK}; use 127.0.0.1, or make a key: waypost keys create --admin'


class ServerSettings(Part):
    """The HTTP server."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on; only a loopback address where there are no keys, neither here nor in the database."""
    port: Annotated[int, Field(ge=0, le=65535), BeforeValidator(refuse_boolean)] = 8000
    """Port to listen on; 0 lets the system choose a free one."""
    workers: Annotated[int, Field(ge=1, le=64), BeforeValidator(refuse_boolean)] = 1
    """Processes that answer requests at the same port."""
    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = (
        "http://localhost:3000",
        "http://localhost:4321",
    )
    """Sites whose pages may call this server from a browser."""
    allowed_hosts: tuple[Annotated[str, AfterValidator(_host_name)], ...] = ()
    """Host names this server answers to besides its own loopback names."""
    max_body_bytes: Annotated[int, Field(ge=1024, le=1024 * MEBIBYTE), BeforeValidator(refuse_boolean)] = 20 * MEBIBYTE
    """Largest request body that is accepted, in bytes."""
    max_in_flight: Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(refuse_boolean)] = 2000
    """Requests one process works on at once; while there are so many, new ones get status 503 and Retry-After."""
    max_loop_lag_s: Seconds = 1.0
    """Seconds a process may be late for its own timers; while it is later, new requests get status 503."""
    resume_grace_s: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False), BeforeValidator(refuse_boolean)] = 60
    """Seconds a resumable stream goes on, and can be taken up again, after its caller has gone."""
    resume_buffer_bytes: SizeBytes = 64 * MEBIBYTE
    """Memory that one process keeps for the events of resumable streams, in bytes; 0 keeps none."""
    idempotency_ttl_s: Annotated[
        float, Field(ge=0, le=604_800, allow_inf_nan=False), BeforeValidator(refuse_boolean)
    ] = 86_400
    """Seconds that an answer is kept for the same Idempotency-Key."""
    idempotency_buffer_bytes: SizeBytes = 64 * MEBIBYTE
    """Memory that one process keeps for such answers, in bytes; 0 keeps none."""
    explain_records: Annotated[int, Field(ge=0, le=10_000_000), BeforeValidator(refuse_boolean)] = 10_000
    """Requests whose story one process remembers for `waypost explain`."""
    shutdown_grace_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False), BeforeValidator(refuse_boolean)] = 30
    """Seconds that streams in flight may still take when the server is told to stop."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    """How much is logged."""
