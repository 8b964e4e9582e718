"""What an administrator gets, as Pydantic models for the OpenAPI document."""

from __future__ import annotations

from typing import Literal

from waypost.server.job_models import JobNumbers
from waypost.server.log_models import LedgerFacts
from waypost.server.models import ErrorBody, Wire


class ReloadModel(Wire):
    """The settings were read anew, by every worker."""

    changed: list[str]
    """Keys that are new in force, such as providers.first or server.max_in_flight."""
    needs_restart: list[str]
    """Keys that differ from what is in force and only count at the start."""


class ProviderStatus(Wire):
    """How a provider is."""

    status: Literal["ready", "starting", "idle", "unavailable"]
    """idle: starts at the first request."""
    detail: str
    """What to do, if it is not ready."""


class BreakerModel(Wire):
    """The circuit breaker of a target that was asked."""

    provider: str
    """The provider's configured name."""
    model: str | None
    """The model; null: the provider's own choice."""
    circuit: Literal["closed", "open", "half_open"]
    """open: left alone for now; half_open: one request may try."""


class AllowanceCountsModel(Wire):
    """What keys' limits and budgets came to in one process, since it began."""

    budget_warnings: int
    """Budgets that reached a share, or began to refuse, of which this process was the first to tell."""
    budget_refusals: int
    """Calls that a budget did not cover."""
    price_refusals: int
    """Calls whose price was to be known, and is not."""
    limit_refusals: int
    """Requests over a limit per minute or at once."""


class WorkerModel(Wire):
    """One process of this server. Of one that does not answer only `worker` and `error` are known."""

    worker: int
    """Its number, from 1."""
    pid: int | None = None
    """Its process id."""
    uptime_s: float | None = None
    """Seconds since its start."""
    draining: bool | None = None
    """Is it shutting down?"""
    in_flight: int | None = None
    """Requests it works on, this one too."""
    loop_lag_s: float | None = None
    """How late it is for its own timers, in seconds, smoothed."""
    providers: dict[str, ProviderStatus] | None = None
    """Each provider, by its configured name."""
    breakers: list[BreakerModel] | None = None
    """One for each target that was asked."""
    allowances: AllowanceCountsModel | None = None
    """What keys' limits and budgets came to; null: nothing is written down (`ledger.enabled`)."""
    error: ErrorBody | None = None
    """Why nothing is known."""


class StatusModel(Wire):
    """What this server is doing."""

    version: str
    """Waypost's version."""
    file: str | None
    """The settings file in force; null: none, or it was not read by this server."""
    workers: list[WorkerModel]
    """Every process."""
    ledger: LedgerFacts | None
    """What is written down and kept; null: nothing is (`ledger.enabled`)."""
    jobs: JobNumbers | None
    """How durable jobs stand; null: there are none, or the database is away."""
