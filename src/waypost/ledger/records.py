"""What is written to the journal, as values: an attempt begins, an attempt ends, a request ends. No I/O.

Each record stands for itself: the one that opens an attempt says whose it is and what for, so that a row can be made of
it even if nothing comes after it. Times are Unix milliseconds, money is in micro-dollars, None is "not known".
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

AttemptOutcome: TypeAlias = Literal["answered", "failed", "caller_left", "lost", "unknown"]
"""lost: another call was faster; unknown: the process died before the attempt's end."""
EndState: TypeAlias = Literal["answered", "failed", "caller_left", "unknown"]
CostBasis: TypeAlias = Literal["reported", "estimated", "free", "unpriced"]
"""reported: the provider's last count; estimated: at least a part was counted by us; free: the provider served nothing;
unpriced: no price is known, so that the cost is None."""


class Counts(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Token counts: the fields of `chat.Usage` in its order, without what it maps."""

    input_tokens: int | None = None
    input_cache_read_tokens: int | None = None
    input_cache_write_5m_tokens: int | None = None
    input_cache_write_1h_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_tokens: int | None = None
    output_reasoning_tokens: int | None = None
    output_audio_tokens: int | None = None
    server_tool_calls: dict[str, int] | None = None
    service_tier: str | None = None


class AttemptOpened(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="o"):
    """Written before a call is sent. `entry_id` is the request's row, `request_id` what its caller is told."""

    attempt_id: str
    entry_id: str
    request_id: str
    number: int
    """From 1 on, within the request."""
    started_at_ms: int
    request_started_at_ms: int
    project_id: str
    key_id: str
    end_user: str | None
    path: str
    route: str | None
    asked_model: str
    stream: bool
    tags: dict[str, str] | None
    provider: str
    kind: str
    model: str | None
    input_tokens: int
    """Estimated from the text, for the case that the attempt is never closed."""
    reserved_micro_usd: int | None


class AttemptClosed(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="c"):
    """Written before the caller sees the end of what this attempt gave. `model` is what the provider said it was."""

    attempt_id: str
    ended_at_ms: int
    outcome: AttemptOutcome
    error_code: str | None
    model: str | None
    counts: Counts
    cost_micro_usd: int | None
    cost_basis: CostBasis
    price_source: str | None
    first_token_ms: int | None
    provider_key: str | None
    way: str | None


class RequestEnded(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="e"):
    """Written when the reply is over. It says all of the request again, since a request may have had no attempt."""

    entry_id: str
    request_id: str
    started_at_ms: int
    project_id: str
    key_id: str
    end_user: str | None
    path: str
    route: str | None
    asked_model: str
    stream: bool
    tags: dict[str, str] | None
    provider: str | None
    model: str | None
    end_state: EndState
    status: int | None
    error_code: str | None
    attempts: int
    first_token_ms: int | None
    total_ms: int
    cache: str | None


class BodyStored(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="b"):
    """What was asked and answered, already redacted, of a request that is to be kept."""

    entry_id: str
    project_id: str
    stored_at_ms: int
    request: str | None
    response: str | None


Record: TypeAlias = AttemptOpened | AttemptClosed | RequestEnded | BodyStored
