"""The settings of durable jobs: how many are done at once, and for how long what came of them is kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from waypost.settings.fields import KIBIBYTE, MEBIBYTE, Part, SizeBytes, refuse_boolean
from waypost.settings.ledger import Days


class JobSettings(Part):
    """What is done in the background."""

    enabled: bool = True
    """Whether jobs are taken on; if not, there are no analyses, background responses and batches."""
    worker: bool = True
    """Whether `waypost serve` runs a worker process beside it; if not, `waypost worker` has to, there or elsewhere."""
    concurrency: Annotated[int, Field(ge=1, le=1000), BeforeValidator(refuse_boolean)] = 16
    """Jobs that one worker process does at once."""
    days: Days = 30
    """Days that a job, its content and its result stay after its end."""
    max_content_bytes: Annotated[SizeBytes, Field(ge=KIBIBYTE, le=64 * MEBIBYTE)] = 2 * MEBIBYTE
    """Largest content of a job, or file of one, in bytes."""
    max_queued: Annotated[int, Field(ge=1, le=100_000_000), BeforeValidator(refuse_boolean)] = 1_000_000
    """Jobs of one project that may wait; while there are so many, new ones get status 429."""
    max_stream_bytes: Annotated[SizeBytes, Field(ge=64 * KIBIBYTE)] = 16 * MEBIBYTE
    """Most bytes of events that are kept of one background answer, for its readers; a longer one can be had whole."""
