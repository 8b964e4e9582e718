"""What became of a request, a call of it, a job and a step, as plain values that are made when it is over.

They hold names, times, counts and codes: never a prompt, an answer, a header, a key or anybody's error text. Times are
Unix milliseconds, money is in micro-dollars, None is "not known" and an empty text "there is none".
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Door: TypeAlias = Literal[
    "openai_chat",
    "openai_responses",
    "anthropic_messages",
    "gemini",
    "embeddings",
    "generate",
    "raw",
    "job",
    "other",
]
"""Where a request came in; job: a worker asked for a job; other: pages, lists, administration, unknown paths."""
RequestOutcome: TypeAlias = Literal["answered", "failed", "caller_left", "refused"]
"""refused: it was turned down before anybody was asked, by its caller's fault or because nothing more is taken now."""
AttemptOutcome: TypeAlias = Literal["answered", "failed", "caller_left", "lost"]
"""lost: another call of the same request was faster."""
JobOutcome: TypeAlias = Literal["succeeded", "failed", "cancelled"]
StepOutcome: TypeAlias = Literal["done", "failed", "cancelled", "left"]
"""left: the worker ended, and another one does it again."""


class Tokens(msgspec.Struct, frozen=True, gc=False):
    """Counts as the provider reported them, or as they were estimated; None: not reported.

    `input` and `output` are the whole; all others are parts of them.
    """

    input: int | None = None
    input_cache_read: int | None = None
    input_cache_write: int | None = None
    output: int | None = None
    output_reasoning: int | None = None


class AttemptFacts(msgspec.Struct, frozen=True, gc=False):
    """One call to a provider. `model` is the one that was asked for, `response_model` what the provider said it was.

    `is_sent` False: it was ruled out before anything was sent, as by a breaker; then nothing else is counted.
    """

    provider: str
    """Its name in the settings."""
    kind: str
    """Its kind, such as openai; empty if that is not known."""
    model: str
    number: int
    """From 1 on, within the request; 0: it is not written down in the ledger."""
    started_at_ms: int
    duration_ms: int
    """Until its answer was complete, or it failed."""
    outcome: AttemptOutcome
    is_sent: bool = True
    error_code: str = ""
    first_token_ms: int | None = None
    """From the call's own start."""
    response_model: str = ""
    tokens: Tokens = Tokens()
    cost_micro_usd: int | None = None
    cost_is_estimate: bool = False
    way: str = ""
    """How it went on with a stream that had broken."""


class RequestFacts(msgspec.Struct, frozen=True, gc=False):
    """One request, when it and all that it began are over.

    `model` is the one that answered, or was asked last; `asked_model` is the caller's own word and may be anything.
    """

    request_id: str
    door: Door
    method: str
    path: str
    started_at_ms: int
    duration_s: float
    outcome: RequestOutcome
    status: int | None = None
    """None: the caller left before one was sent, or it is a job's call, which has none."""
    error_code: str = ""
    route: str = ""
    """Its name in the settings; empty: no route was taken."""
    asked_model: str = ""
    provider: str = ""
    model: str = ""
    is_stream: bool = False
    first_token_ms: int | None = None
    """From the request's start."""
    attempts: tuple[AttemptFacts, ...] = ()
    cache: str = ""
    """"hit" for an answer from the cache, "replay" for that to an earlier request with the same idempotency key."""
    project_id: str = ""
    key_id: str = ""
    end_user: str = ""
    job_id: str = ""
    """The job that asked, in a worker."""
    trace_id: str = ""


class StepFacts(msgspec.Struct, frozen=True, gc=False):
    """One try of one step of a job. `request_id` leads to its call, if it made one."""

    job_id: str
    job_type: str
    name: str
    started_at_ms: int
    ended_at_ms: int
    outcome: StepOutcome
    error_code: str = ""
    request_id: str = ""
    provider: str = ""
    model: str = ""
    tokens: Tokens = Tokens()
    cost_micro_usd: int | None = None
    trace_id: str = ""


class JobFacts(msgspec.Struct, frozen=True, gc=False):
    """A job that has ended. `ready_at_ms` is since when it could have been begun."""

    job_id: str
    job_type: str
    outcome: JobOutcome
    ready_at_ms: int
    started_at_ms: int | None
    """Of its last run; None: it was ended before anybody began it."""
    ended_at_ms: int
    runs: int
    error_code: str = ""
    project_id: str = ""
    key_id: str = ""
    batch_id: str = ""
    provider: str = ""
    model: str = ""
    tokens: Tokens = Tokens()
    cost_micro_usd: int | None = None
    trace_id: str = ""
