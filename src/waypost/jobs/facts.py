"""The facts of a job and its steps for those who observe, made when what became of them is written down."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from waypost.errors import WaypostError
from waypost.jobs.job import Cost, Job
from waypost.telemetry.facts import JobFacts, JobOutcome, StepFacts, StepOutcome, Tokens


@dataclass(frozen=True, slots=True)
class StepEnding:
    """How one try of a step ended. `cost` is that of all its calls; `is_interrupted`: the worker ends."""

    began_at_ms: int
    ended_at_ms: int
    error: BaseException | None
    cost: Cost
    request_id: str
    is_interrupted: bool


def job_facts(job: Job) -> JobFacts:
    """Those of a job that has ended."""
    return JobFacts(
        job_id=job.id,
        job_type=job.type,
        outcome=cast("JobOutcome", job.state),
        ready_at_ms=max(job.created_at_ms, job.not_before_ms or 0),
        started_at_ms=job.started_at_ms,
        ended_at_ms=job.ended_at_ms or 0,
        runs=job.runs,
        error_code="" if job.error is None else str(job.error.get("code", "")),
        project_id=job.project_id,
        key_id=job.key_id,
        batch_id=job.batch_id or "",
        provider=job.provider or "",
        model=job.model or "",
        tokens=_tokens(job.usage or {}),
        cost_micro_usd=job.cost_micro_usd,
    )


def step_facts(job: Job, name: str, ending: StepEnding) -> StepFacts:
    """Those of one try."""
    error = ending.error
    return StepFacts(
        job_id=job.id,
        job_type=job.type,
        name=name,
        started_at_ms=ending.began_at_ms,
        ended_at_ms=ending.ended_at_ms,
        outcome=_outcome(ending),
        error_code=error.code if isinstance(error, WaypostError) else "",
        request_id=ending.request_id,
        provider=ending.cost.provider or "",
        model=ending.cost.model or "",
        tokens=_tokens(ending.cost.usage),
        cost_micro_usd=ending.cost.micro_usd,
    )


def _outcome(ending: StepEnding) -> StepOutcome:
    if ending.error is None:
        return "done"
    if ending.is_interrupted:
        return "left"
    return "cancelled" if isinstance(ending.error, asyncio.CancelledError) else "failed"


def _tokens(usage: Mapping[str, Any]) -> Tokens:
    """By the names of `chat.usage.COUNTS`."""
    writes = [usage[name] for name in ("input_cache_write_5m_tokens", "input_cache_write_1h_tokens") if name in usage]
    return Tokens(
        usage.get("input_tokens"),
        usage.get("input_cache_read_tokens"),
        sum(writes) if writes else None,
        usage.get("output_tokens"),
        usage.get("output_reasoning_tokens"),
    )
