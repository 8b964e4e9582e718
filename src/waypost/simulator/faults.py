"""What can go wrong, as values. A fault belongs to one request and always does the same thing: no probabilities.

A fault is written as a mapping whose first key names the kind, here and in the `x-waypost-simulate` header:

    {status: 429, retry_after_s: 2, retry_after_form: date}     an error reply
    {status: 502, body: html}                                   a proxy's page instead of the provider's body (or 200)
    {reset_before_headers: true}                                the connection is reset before any byte
    {reply_lost: true}                                          what was asked is done, then the same: nobody is told
    {silence: true}                                             no byte ever comes
    {cut_after_events: 3, inside: event}                        a reset in mid-stream
    {end_after_events: 3}                                       a clean end without the terminal event
    {stall_after_events: 2}                                     the stream stays open and says nothing more
    {error_after_events: 2, error: overloaded}                  the provider's own error inside the stream
    {malformed_after_events: 2}                                 one event that is not JSON; the stream goes on
    {huge_after_events: 2, size_bytes: 20000000}                one event of that size; the stream goes on
    {named_error: context_length}                               an error reply with the provider's own status for it
    {first_token_s: 1.5}                                        the answer begins late
    {content_type: text/plain}                                  a good answer that claims to be something else
    {refuse_prefill: true}                                      a 400 if the conversation ends in the model's own words

Events are counted as they are on the wire, pings too. The kinds that count events also work on an answer that is
not streamed: cut and end break off in the middle of the body, stall stops there, error becomes an error reply,
malformed is half a body that claims to be whole.
Model names choose a fault as well, with any client; the tables at the end of this module say which.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

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

RetryAfterForm = Literal["seconds", "milliseconds", "date"]
"""How the wait is told in a header. Google tells it in the body too, whatever the form."""


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
    retry_after_form: RetryAfterForm = "seconds"
    body: Literal["json", "html", "empty"] = "json"


@dataclass(frozen=True, slots=True)
class ResetBeforeHeaders:
    """The request is read, then the connection is reset."""

    reset_before_headers: Literal[True] = True


@dataclass(frozen=True, slots=True)
class ReplyLost:
    """The request is carried out (a batch is made, an answer kept), then the connection is reset before any byte."""

    reply_lost: Literal[True] = True


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
    """After so many events the provider reports an error in the stream and ends it.

    `in_response`: as a response that failed, the other way in which OpenAI's Responses API tells it.
    """

    error_after_events: int
    error: ErrorName = "overloaded"
    message: str | None = None
    in_response: bool = False


@dataclass(frozen=True, slots=True)
class MalformedAfter:
    """After so many events one comes that is half JSON; those after it are whole again."""

    malformed_after_events: int


@dataclass(frozen=True, slots=True)
class HugeAfter:
    """After so many events one comes that is padded to that size; it and those after it are whole."""

    huge_after_events: int
    size_bytes: int = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class NamedError:
    """An error reply by its name, with whatever status, type and code the dialect has for it."""

    named_error: ErrorName
    message: str | None = None
    retry_after_s: float | None = None
    retry_after_form: RetryAfterForm = "seconds"


@dataclass(frozen=True, slots=True)
class SlowFirstToken:
    """So many seconds pass between the head of the reply (or its beginning, if not streamed) and the first token."""

    first_token_s: float


@dataclass(frozen=True, slots=True)
class WrongType:
    """The answer is whole and good, but its Content-Type is this one."""

    content_type: str = "text/plain"


@dataclass(frozen=True, slots=True)
class RefusePrefill:
    """A conversation that ends with the assistant's own words is refused; any other is answered."""

    refuse_prefill: Literal[True] = True


StreamFault: TypeAlias = CutAfter | EndAfter | StallAfter | ErrorAfter | MalformedAfter | HugeAfter
ReplyFault: TypeAlias = StatusFault | NamedError | ResetBeforeHeaders | Silence
"""Those that leave no answer."""
Fault: TypeAlias = ReplyFault | StreamFault | SlowFirstToken | WrongType | RefusePrefill | ReplyLost

FAULT_KINDS: dict[str, type[Fault]] = {
    "status": StatusFault,
    "reset_before_headers": ResetBeforeHeaders,
    "reply_lost": ReplyLost,
    "silence": Silence,
    "cut_after_events": CutAfter,
    "end_after_events": EndAfter,
    "stall_after_events": StallAfter,
    "error_after_events": ErrorAfter,
    "malformed_after_events": MalformedAfter,
    "huge_after_events": HugeAfter,
    "named_error": NamedError,
    "first_token_s": SlowFirstToken,
    "content_type": WrongType,
    "refuse_prefill": RefusePrefill,
}
"""The key that names a kind, and the kind."""

ANY_MODEL = (
    "status-429, status-429-2, html-502, reset, reply-lost, silence, cut-3, cut-3-event, cut-3-character, end-3, "
    "stall-2, error-2, malformed-2, huge-2, slow-15, wrong-type, wrong-key, refused-prefill, context-length, "
    "content-policy, overloaded"
)
"""Examples of the model names that ask for a fault."""
_WORDS: dict[str, Fault] = {
    "reset": ResetBeforeHeaders(),
    "reply-lost": ReplyLost(),
    "silence": Silence(),
    "wrong-type": WrongType(),
    "wrong-key": NamedError("authentication"),
    "refused-prefill": RefusePrefill(),
    **{name.replace("_", "-"): NamedError(name) for name in get_args(ErrorName)},
}
_NUMBERED: dict[str, Callable[[int], Fault]] = {
    "cut": CutAfter,
    "end": EndAfter,
    "stall": StallAfter,
    "error": ErrorAfter,
    "malformed": MalformedAfter,
    "huge": HugeAfter,
    "slow": lambda tenths: SlowFirstToken(tenths / 10),
}
_CUT_INSIDE: dict[str, Callable[[int], Fault]] = {
    "event": lambda count: CutAfter(count, "event"),
    "character": lambda count: CutAfter(count, "character"),
}
_MODEL_NAME = re.compile(
    r"(?P<word>[a-z]+)-(?P<number>\d{1,5})(?:-(?:(?P<wait_s>\d{1,5})|(?P<inside>event|character)))?", re.ASCII
)


def kind_of(fault: Fault) -> str:
    """The key that names the fault's kind."""
    return next(key for key, kind in FAULT_KINDS.items() if isinstance(fault, kind))


def fault_of_model(model: str) -> Fault | None:
    """The fault that a model's name asks for, if it asks for one.

    `status-N` (and `-S` behind it: wait S seconds), `html-N`, `slow-N` (tenths of a second), a fault that counts
    events with their number (`cut-N` also with `-event` or `-character`), or one of the words.
    """
    if (fault := _WORDS.get(model)) is not None:
        return fault
    found = _MODEL_NAME.fullmatch(model)
    if found is None:
        return None
    word, number, wait_s, inside = found["word"], int(found["number"]), found["wait_s"], found["inside"]
    if word == "status" and inside is None and 400 <= number <= 599:
        return StatusFault(number, retry_after_s=None if wait_s is None else int(wait_s))
    if word == "cut" and inside is not None:
        return _CUT_INSIDE[inside](number)
    if wait_s is not None or inside is not None:
        return None
    if word == "html" and 400 <= number <= 599:
        return StatusFault(number, body="html")
    return _NUMBERED[word](number) if word in _NUMBERED else None
