"""What differs between the providers around one codec: keys, headers, ids, model lists and the words of errors.

The bodies of errors are written here, from the providers' documentation, and not by the codecs: so a codec that
reads errors is tested against bytes it did not make.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from waypost.chat import FinishReason, Json, Opaque, Response, Usage
from waypost.codecs.codec import Codec
from waypost.simulator.faults import ErrorName
from waypost.simulator.script import DialectName

INVALID_KEY = "invalid"
"""The one key that is refused; every other that is not empty is good."""
MODELS = ("simulated-small", "simulated-large")
"""The models listed where the script names none."""
MODELS_CREATED = 1_735_689_600
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class WireError:
    """An error in a provider's own words. `param` is OpenAI's; so is `code`, for most causes: Anthropic has few."""

    status: int
    type: str
    message: str
    code: str | None = None
    param: str | None = None


class Refused(Exception):
    """The request is not served, as the real provider would not serve it."""

    def __init__(self, error: WireError) -> None:
        super().__init__(error.message)
        self.error = error


class Dialect(Protocol):
    """One provider's manners."""

    name: DialectName
    codec: Codec
    request_id_header: str
    errors: Mapping[ErrorName, WireError]
    refusal_reason: FinishReason
    ping: bytes
    """An event the provider sends once the first part has begun; empty if it has none."""

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """Raises Refused. Header names are lower-case."""

    def error_body(self, error: WireError, request_id: str) -> bytes:
        """The JSON body of an error reply."""

    def error_event(self, error: WireError, request_id: str) -> bytes:
        """The error as an event of a stream."""

    def unknown_path(self, method: str, path: str) -> WireError:
        """No such endpoint."""

    def unknown_model(self, model: str) -> WireError:
        """No such model."""

    def model(self, name: str) -> Json:
        """One model of the list."""

    def model_list(self, names: tuple[str, ...]) -> Json:
        """The list of models."""

    def told(self, response: Response, *, invented: bool) -> Response:
        """The answer without what the real provider does not say. An invented answer is not the script's wish."""

    def first_usage(self, usage: Usage) -> Usage | None:
        """What is said of the usage when a stream begins; None: nothing."""

    def reasoning_opaque(self, ids: Ids) -> Opaque:
        """What a part of reasoning carries beside its text."""


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of one exchange: the same for the same seed and place in the sequence of requests."""

    seed: int
    number: int

    def make(self, prefix: str, size: int, index: int = 0) -> str:
        """The prefix and so many letters and digits."""
        digest = hashlib.sha512(f"{self.seed}:{self.number}:{prefix}:{index}".encode()).digest()
        return prefix + "".join(_BASE62[byte % 62] for byte in digest[:size])


def error_for(
    dialect: Dialect,
    *,
    status: int | None = None,
    name: ErrorName | None = None,
    message: str | None = None,
    code: str | None = None,
) -> WireError:
    """The dialect's error of that name, or the one that goes with the status, which holds in any case."""
    if name is not None:
        error = dialect.errors[name]
    else:
        alike = [error for error in dialect.errors.values() if error.status == status]
        kind: ErrorName = "bad_request" if (status or 500) < 500 else "server_error"
        error = alike[0] if alike else dialect.errors[kind]
    return replace(error, status=status or error.status, message=message or error.message, code=code or error.code)


def dump(value: Json) -> bytes:
    """A value as JSON."""
    return msgspec.json.encode(value)


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token of `authorization: Bearer …`, empty if there is none. Source: RFC 6750, 2.1."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
