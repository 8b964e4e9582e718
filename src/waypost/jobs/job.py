"""What a job is: values only. `jobs.rows` keeps them, `jobs.engine` has them done.

A job belongs to one project; nobody else can see that it exists. The invariant: it ends once, as succeeded, failed or
cancelled, and only a retry that somebody asks for begins it anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

State: TypeAlias = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled"]
WAITING: Final[State] = "waiting"
"""No worker has it: a provider does its part in its own time. Told as running."""
STATES: Final[Sequence[State]] = ("queued", "running", "succeeded", "failed", "cancelled")
"""Those that are told."""
ENDED: Final[frozenset[State]] = frozenset({"succeeded", "failed", "cancelled"})
FIRST, NORMAL, LAST = 0, 5, 9
"""Priorities: batches are 7 if they do not say otherwise."""
BATCH_PRIORITY: Final = 7
CRASHED: Final = "job_crashed_its_worker"
"""The error of a job that was given up because its process died with it again and again: a dead letter."""


@dataclass(frozen=True, slots=True)
class Input:
    """The content of a job as it was sent."""

    data: bytes
    media_type: str = "text/plain"
    name: str | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is asked for. `request` is JSON data whose meaning is the type's; `idempotency` a key of the caller's."""

    type: str
    project_id: str
    key_id: str
    request: Mapping[str, Any]
    input: Input | None = None
    end_user: str | None = None
    idempotency: str | None = None
    priority: int = NORMAL
    tags: Mapping[str, str] | None = None
    webhook_url: str | None = None
    batch_id: str | None = None
    batch_index: int | None = None
    not_before_ms: int | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, as every error of ours is told."""

    code: str
    message: str
    hint: str = ""

    def told(self) -> dict[str, str]:
        """As JSON data."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


@dataclass(frozen=True, slots=True)
class Cost:
    """What the calls of a job came to. Micro-dollars None: of one of them no price is known."""

    micro_usd: int | None = 0
    is_estimate: bool = False
    usage: Mapping[str, int] = field(default_factory=dict)
    provider: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended. `result` is JSON data; a failed job may have a partial one."""

    state: Literal["succeeded", "failed", "cancelled"]
    result: Any = None
    error: JobError | None = None
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is in the database: see `store.job_tables.jobs`. Times are Unix ms. `result` is JSON text."""

    id: str
    type: str
    state: State
    project_id: str
    key_id: str
    end_user: str | None
    batch_id: str | None
    batch_index: int | None
    priority: int
    request: Mapping[str, Any]
    result: str | None
    error: Mapping[str, Any] | None
    progress_done: int
    progress_total: int | None
    runs: int
    executor_id: str | None
    cost_micro_usd: int | None
    cost_is_estimate: bool
    usage: Mapping[str, Any] | None
    provider: str | None
    model: str | None
    possibly_paid_twice: int
    last_event: int
    tags: Mapping[str, str] | None
    webhook_url: str | None
    cancel_requested_at_ms: int | None
    not_before_ms: int | None
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    expires_at_ms: int | None

    @property
    def told_state(self) -> State:
        """The state, for people and programs."""
        return told_state(self.state)

    @property
    def has_ended(self) -> bool:
        """Will nothing more become of it by itself?"""
        return self.state in ENDED


def told_state(state: State) -> State:
    """A state as it is told."""
    return "running" if state == WAITING else state


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job. Numbers begin with 1 and have no gaps; `data` is JSON text."""

    number: int
    at_ms: int
    name: str
    data: str
