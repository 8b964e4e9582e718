"""Going on with a stream that broke in the middle: by which way, and what is asked of the target then. Pure values.

`sent` says whether that is possible at all, `seam` joins the new stream to the first. The invariant: whatever way is
taken, the target gets the caller's own request, with no word in the caller's name unless the route allows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from waypost.chat import Event, Message, Request, Text
from waypost.gateway.sent import RECOVERY_LIMIT_BYTES, Sent, SentRecord, Unrecoverable, Way

CONTINUE = (
    "Your last message was cut off by a network failure. Continue it from exactly where it stops: your reply is "
    "appended to it as it is. Repeat nothing, explain nothing, and do not mention the interruption."
)
"""What the user's turn says. It is the one text that Waypost ever puts into a conversation, and only on opt-in."""


@dataclass(frozen=True, slots=True)
class RecoveryTarget:
    """What recovery must know of a target. `is_local`: it runs on this machine."""

    provider: str
    model: str | None
    takes_prefill: bool = False
    is_local: bool = False


def recoverable(
    request: Request, events: Iterable[Event], limit_bytes: int = RECOVERY_LIMIT_BYTES
) -> Sent | Unrecoverable:
    """Of the events that the caller has been sent: the text to go on from, or why that is not possible."""
    record = SentRecord(request, limit_bytes)
    for event in events:
        record.add(event)
    return record.verdict()


def chosen_way(sent: Sent, broken: RecoveryTarget, target: RecoveryTarget, *, user_turn: bool = False) -> Way | None:
    """How `target` would go on; None: it may not. `user_turn`: the route allows that way.

    A local model begins its own answer again or goes on with it, but never with another model's.
    """
    if target.is_local and (target.provider, target.model) != (broken.provider, broken.model):
        return None
    open_to: Mapping[Way, bool] = {"prefill": target.takes_prefill, "user_turn": user_turn, "restart": True}
    return next((way for way in sent.ways if open_to[way]), None)


def request_for(way: Way, request: Request, sent: Sent, used_tokens: int | None = None) -> Request:
    """What is asked of the target that goes on. `used_tokens` (None: those of `sent`) come off `max_tokens`."""
    if way == "restart":
        return request
    return continued_request(request, sent.text, sent.used_tokens if used_tokens is None else used_tokens, way)


def continued_request(
    request: Request, sent_text: str, used_tokens: int, way: Literal["prefill", "user_turn"] = "prefill"
) -> Request:
    """The request with the text so far as the assistant's turn, and for "user_turn" one that asks to go on.

    White space at its end is left off, which Anthropic refuses there; the seam puts that right. Raises ValueError
    if nothing else is left of the text.
    """
    text = sent_text.rstrip()
    if not text:
        raise ValueError("there is no text to continue from")
    turns = [Message("assistant", (Text(text),))]
    if way == "user_turn":
        turns.append(Message("user", (Text(CONTINUE),)))
    limit = request.sampling.max_tokens
    left = None if limit is None else max(1, limit - used_tokens)
    return replace(request, messages=(*request.messages, *turns), sampling=replace(request.sampling, max_tokens=left))
