"""What differs between the providers around one codec: keys, headers, ids, model lists and the words of errors.

The bodies of errors are written here, from the providers' documentation, and not by the codecs: so a codec that
reads errors is tested against bytes it did not make.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import msgspec

from waypost.chat import FinishReason, Json, Opaque, Request, Response, Usage
from waypost.codecs.codec import Codec
from waypost.simulator.credentials import Credentials
from waypost.simulator.details import Detail
from waypost.simulator.faults import ErrorName
from waypost.simulator.script import DialectName, Prefill

MODELS = ("simulated-small", "simulated-large")
"""The models listed where the script names none."""
MODELS_CREATED = 1_735_689_600
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


ProviderFields: TypeAlias = Mapping[str, Mapping[str, Json]]


@dataclass(frozen=True, slots=True)
class WireError:
    """An error in a provider's own words.

    `type` is Google's `status`. `param` is OpenAI's; so is `code`, for most causes: Anthropic has few, and it is the
    `reason` among Google's details. `retry_after_s` is told in Google's body, as well as in a header, and `details`
    are Google's.
    """

    status: int
    type: str
    message: str
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    details: tuple[Mapping[str, Json], ...] = ()

    def at(self, param: str) -> WireError:
        """The error, naming the field."""
        return replace(self, param=param)


class Refused(Exception):
    """The request is not served, as the real provider would not serve it."""

    def __init__(self, error: WireError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Context:
    """What an answer was asked by, for what a dialect repeats of it. `invented`: the script says nothing."""

    request: Request
    body: Mapping[str, Json]
    invented: bool


@dataclass(frozen=True, slots=True)
class Head:
    """What the headers of a reply tell. `used`: requests so far; `is_limited`: this one was one too many."""

    request_id: str
    used: int
    is_limited: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """A stream that an error ends: its request's id, how many events were sent, and the first of them.

    `in_response`: the error is wanted within a response, if the dialect has such a thing.
    """

    request_id: str
    number: int = 0
    first: bytes = b""
    in_response: bool = False


class Dialect(Protocol):
    """One provider's manners."""

    name: DialectName
    codec: Codec
    errors: Mapping[ErrorName, WireError]
    refusal_reason: FinishReason
    prefill: Prefill
    """What is done with a conversation that ends with the assistant's own words, unless the script says otherwise."""
    ping: bytes
    """An event the provider sends once the first part has begun; empty if it has none."""
    opening: bytes
    """An event the provider sends before all others; empty if it has none."""
    json_type: str
    """The Content-Type of JSON."""
    details: Detail | None
    """Adds to bodies and events what the codec does not write; None: nothing is lacking."""
    tells_opaque_first: bool
    """Does what a part carries beside its text (ids of items) come when it begins, rather than when it ends?"""

    def key(self, credentials: Credentials) -> str:
        """The API key, empty if there is none."""

    def authenticate(self, credentials: Credentials) -> None:
        """Raises Refused."""

    def headers(self, head: Head) -> dict[str, str]:
        """The reply's own headers: the request's id, and what is left of the limits."""

    def request_id(self, ids: Ids) -> str:
        """The id of the exchange."""

    def response_id(self, ids: Ids) -> str:
        """The id of an answer."""

    def call_id(self, ids: Ids, index: int) -> str:
        """The id of a tool call."""

    def error_body(self, error: WireError, request_id: str) -> bytes:
        """The JSON body of an error reply."""

    def error_event(self, error: WireError, broken: Broken) -> bytes:
        """The error as an event of a stream."""

    def unknown_path(self, method: str, path: str) -> WireError:
        """No such endpoint."""

    def unknown_model(self, model: str) -> WireError:
        """No such model."""

    def model(self, name: str) -> Json:
        """One model of the list."""

    def model_list(self, names: tuple[str, ...]) -> Json:
        """The list of models."""

    def told(self, response: Response, context: Context, ids: Ids) -> Response:
        """The answer as the real provider tells it: without what it does not say, with what it adds."""

    def first_fields(self, response: Response) -> ProviderFields:
        """What a stream tells at its beginning of the fields that only this provider knows; at its end it tells all."""

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
        """The prefix and so many (at most 64) letters and digits."""
        return prefix + "".join(_BASE62[byte % 62] for byte in self._digest(prefix, index)[:size])

    def hexadecimal(self, prefix: str, size: int, index: int = 0) -> str:
        """The prefix and so many (at most 128) hexadecimal digits."""
        return prefix + self._digest(prefix, index).hex()[:size]

    def _digest(self, prefix: str, index: int) -> bytes:
        return hashlib.sha512(f"{self.seed}:{self.number}:{prefix}:{index}".encode()).digest()


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
