"""What can go wrong, as values. A fault belongs to one request and always does the same thing: no probabilities.

A fault is written as a mapping whose first key names the kind, here and in the `x-waypost-simulate` header:

    {status: 429, retry_after_s: 2, retry_after_form: date}     an error reply
    {status: 502, body: html}                                   a proxy's page instead of the provider's body (or 200)
    {reset_before_headers: true}                                the connection is reset before any byte
    {silence: true}                                             no byte ever comes
    {cut_after_events: 3, inside: event}                        a reset in mid-stream
    {end_after_events: 3}                                       a clean end without the terminal event
    {stall_after_events: 2}                                     the stream stays open and says nothing more
    {error_after_events: 2, error: overloaded}                  the provider's own error inside the stream
    {malformed_after_events: 2}                                 one event that is not JSON; the stream goes on

Events are counted as they are on the wire, pings too. The kinds that count events also work on an answer that is
not streamed: cut and end break off in the middle of the body, stall stops there, error becomes an error reply,
malformed is half a body that claims to be whole.
Model names choose a fault as well, with any client: `status-429`, `html-502`, `reset`, `silence`, `cut-3`,
`end-3`, `stall-2`, `error-2`, `malformed-2`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

ErrorName = Literal[
    "bad_request",
    "context_length",
    "content_policy",
    "authentication",
    "permission",
    "not_found",
    "conflict",
    "too_large",
    "quota",
    "rate_limit",
    "server_error",
    "overloaded",
    "timeout",
]
"""The errors providers are known to send, by our name for them; each dialect has its own words."""


@dataclass(frozen=True, slots=True)
class StatusFault:
    """An error reply. `error` None: the one that goes with the status.

    `message` and `code` replace the dialect's own text and code (Anthropic has codes in `error.details`). With
    `body: html` or `empty` the status may also be 200: not the provider answers then, but something before it.
    """

    status: int
    error: ErrorName | None = None
    message: str | None = None
    code: str | None = None
    retry_after_s: float | None = None
    retry_after_form: Literal["seconds", "milliseconds", "date"] = "seconds"
    body: Literal["json", "html", "empty"] = "json"


@dataclass(frozen=True, slots=True)
class ResetBeforeHeaders:
    """The request is read, then the connection is reset."""

    reset_before_headers: Literal[True] = True


@dataclass(frozen=True, slots=True)
class Silence:
    """The request is read and nothing is ever sent."""

    silence: Literal[True] = True


@dataclass(frozen=True, slots=True)
class CutAfter:
    """The connection is reset after so many events, or `inside` the next one (or inside a UTF-8 character of it)."""

    cut_after_events: int
    inside: Literal["boundary", "event", "character"] = "boundary"


@dataclass(frozen=True, slots=True)
class EndAfter:
    """The stream ends after so many events as HTTP says it should, but without the provider's terminal event."""

    end_after_events: int


@dataclass(frozen=True, slots=True)
class StallAfter:
    """After so many events the connection stays open and nothing more is sent."""

    stall_after_events: int


@dataclass(frozen=True, slots=True)
class ErrorAfter:
    """After so many events the provider reports an error in the stream and ends it."""

    error_after_events: int
    error: ErrorName = "overloaded"
    message: str | None = None


@dataclass(frozen=True, slots=True)
class MalformedAfter:
    """After so many events one comes that is half JSON; those after it are whole again."""

    malformed_after_events: int


StreamFault: TypeAlias = CutAfter | EndAfter | StallAfter | ErrorAfter | MalformedAfter
Fault: TypeAlias = StatusFault | ResetBeforeHeaders | Silence | StreamFault

FAULT_KINDS: dict[str, type[Fault]] = {
    "status": StatusFault,
    "reset_before_headers": ResetBeforeHeaders,
    "silence": Silence,
    "cut_after_events": CutAfter,
    "end_after_events": EndAfter,
    "stall_after_events": StallAfter,
    "error_after_events": ErrorAfter,
    "malformed_after_events": MalformedAfter,
}
"""The key that names a kind, and the kind."""

ANY_MODEL = "status-429, html-502, reset, silence, cut-3, end-3, stall-2, error-2, malformed-2"
_NUMBERED: dict[str, Callable[[int], Fault]] = {
    "cut": CutAfter,
    "end": EndAfter,
    "stall": StallAfter,
    "error": ErrorAfter,
    "malformed": MalformedAfter,
}
_MODEL_NAME = re.compile(r"(status|html|cut|end|stall|error|malformed)-(\d{1,6})", re.ASCII)


def kind_of(fault: Fault) -> str:
    """The key that names the fault's kind."""
    return next(key for key, kind in FAULT_KINDS.items() if isinstance(fault, kind))


def fault_of_model(model: str) -> Fault | None:
    """The fault that a model's name asks for, if it is one of the names in the module's text."""
    if model == "reset":
        return ResetBeforeHeaders()
    if model == "silence":
        return Silence()
    if (found := _MODEL_NAME.fullmatch(model)) is None:
        return None
    word, number = found[1], int(found[2])
    if word not in _NUMBERED:
        return StatusFault(number, body="html" if word == "html" else "json") if 400 <= number <= 599 else None
    return _NUMBERED[word](number)
