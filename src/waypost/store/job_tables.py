"""The tables of durable jobs: what is to be done, how far it is, and who is doing it. Definitions only.

They follow the rules of `store.tables`. What is large, such as the content of a job, is in a table of its own, so that
lists of jobs stay quick. The invariant: nothing here belongs to the engine, whose tables are its own.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, text

from waypost.store.columns import counter_column, id_column, number_column, text_column
from waypost.store.tables import metadata
from waypost.store.types import AnyText, Document

jobs: Final = Table(
    "jobs",
    metadata,
    id_column(),
    text_column("type", 32, needed=True),
    text_column("state", 16, needed=True),
    text_column("project_id", 64, needed=True),
    text_column("key_id", 64, needed=True),
    text_column("end_user"),
    text_column("batch_id", 64),
    number_column("batch_index"),
    Column("priority", Integer, nullable=False),
    Column("idempotency_slot", LargeBinary(32)),
    Column("fingerprint", LargeBinary(32)),
    Column("request", Document, nullable=False),
    Column("result", AnyText()),
    Column("error", Document),
    counter_column("progress_done"),
    Column("progress_total", Integer),
    counter_column("runs"),
    text_column("executor_id", 128),
    number_column("cost_micro_usd"),
    Column("cost_is_estimate", Boolean, nullable=False),
    Column("usage", Document),
    text_column("provider"),
    text_column("model"),
    counter_column("possibly_paid_twice"),
    counter_column("last_event"),
    Column("tags", Document),
    Column("webhook_url", AnyText()),
    number_column("cancel_requested_at_ms"),
    number_column("not_before_ms"),
    number_column("created_at_ms", needed=True),
    number_column("started_at_ms"),
    number_column("ended_at_ms"),
    number_column("expires_at_ms"),
    Index("uq_jobs_project_id_idempotency_slot", "project_id", "idempotency_slot", unique=True),
    Index(
        "ix_jobs_queued",
        "project_id",
        "priority",
        "id",
        sqlite_where=text("state = 'queued'"),
        postgresql_where=text("state = 'queued'"),
    ),
    Index("ix_jobs_project_id_created_at_ms", "project_id", "created_at_ms"),
    Index("ix_jobs_state_created_at_ms", "state", "created_at_ms"),
    Index("ix_jobs_batch_id_batch_index", "batch_id", "batch_index"),
    # How a batch stands, and what it came to, is read in the index alone.
    Index("ix_jobs_batch_id_state", "batch_id", "state", "cost_micro_usd", "cost_is_estimate"),
    Index("ix_jobs_expires_at_ms", "expires_at_ms"),
)
"""One row a job. `type` says which code does it: analyze, response or generate. `state` is queued, running, waiting (a
provider does its part; no worker has it), succeeded, failed or cancelled. `priority` is 0 (first) to 9; of equal ones
the older id goes first, ids sort by time. `request` is what was asked but its content. `runs` counts how often it was
begun anew (by a retry, not by a recovery), and `executor_id` is who runs it. `possibly_paid_twice` counts calls to
providers that were in flight when their process died. `last_event` is the number of its newest event. Cost NULL: of a
call no price is known."""

job_inputs: Final = Table(
    "job_inputs",
    metadata,
    id_column("job_id"),
    text_column("name"),
    text_column("media_type", 128, needed=True),
    Column("data", LargeBinary, nullable=False),
)
"""The content of a job as it was sent: text in UTF-8, or a file."""

job_steps: Final = Table(
    "job_steps",
    metadata,
    id_column("job_id"),
    id_column("name", 128),
    text_column("executor_id", 128),
    number_column("begun_at_ms", needed=True),
    number_column("ended_at_ms"),
    counter_column("begun"),
    Column("result", AnyText()),
    text_column("request_id", 128),
    number_column("cost_micro_usd"),
)
"""One row a step, which is one call to a provider or one other piece of work that is not done twice. It is written
before the step begins (`ended_at_ms` NULL) and when it has ended; `begun` counts the former. `result` is JSON."""

job_events: Final = Table(
    "job_events",
    metadata,
    id_column("job_id"),
    Column("number", Integer, primary_key=True, autoincrement=False),
    number_column("at_ms", needed=True),
    text_column("name", 64, needed=True),
    Column("data", AnyText(), nullable=False),
)
"""What happened to a job, numbered from 1 without gaps, for whoever watches it. `data` is JSON."""

batches: Final = Table(
    "batches",
    metadata,
    id_column(),
    text_column("project_id", 64, needed=True),
    text_column("key_id", 64, needed=True),
    text_column("name"),
    text_column("state", 16, needed=True),
    Column("request", Document, nullable=False),
    number_column("total"),
    Column("idempotency_slot", LargeBinary(32)),
    Column("tags", Document),
    Column("webhook_url", AnyText()),
    number_column("cancel_requested_at_ms"),
    number_column("created_at_ms", needed=True),
    number_column("ended_at_ms"),
    number_column("expires_at_ms"),
    Index("uq_batches_project_id_idempotency_slot", "project_id", "idempotency_slot", unique=True),
    Index("ix_batches_project_id_created_at_ms", "project_id", "created_at_ms"),
    Index("ix_batches_state", "state"),
    Index("ix_batches_expires_at_ms", "expires_at_ms"),
)
"""Many jobs that were handed in together. `state` is open (items are still added), running, finished or cancelled;
`total` is known once it is not open any more. How its items stand is counted in `jobs`."""

provider_batches: Final = Table(
    "provider_batches",
    metadata,
    id_column(),
    text_column("batch_id", 64, needed=True, index=True),
    text_column("provider", needed=True),
    text_column("kind", 64, needed=True),
    text_column("model", needed=True),
    text_column("provider_key", 64),
    text_column("state", 16, needed=True),
    text_column("vendor_id"),
    text_column("vendor_state", 64),
    counter_column("requests"),
    number_column("size_bytes", needed=True),
    text_column("executor_id", 128),
    number_column("sent_at_ms"),
    number_column("unsure_at_ms"),
    number_column("next_look_at_ms", needed=True),
    counter_column("troubles"),
    Column("trouble", AnyText()),
    number_column("cancelled_at_ms"),
    number_column("created_at_ms", needed=True),
    number_column("ended_at_ms"),
    Index("ix_provider_batches_state_next_look_at_ms", "state", "next_look_at_ms"),
)
"""Items of a batch that go to a provider together, by its own batch API. `state` is filling (calls are chosen), sending
(from here on the provider may have it), unsure (who sent it died, or got no answer), running, refused or over.
`vendor_id` is the provider's name for it, known from `running` on. `troubles` counts what went wrong in a row."""

batched_calls: Final = Table(
    "batched_calls",
    metadata,
    id_column("job_id"),
    id_column("name", 128),
    text_column("batch_id", 64, needed=True),
    text_column("provider", needed=True),
    text_column("kind", 64, needed=True),
    text_column("model", needed=True),
    text_column("state", 16, needed=True),
    text_column("provider_batch_id", 64),
    counter_column("tries"),
    number_column("size_bytes", needed=True),
    number_column("registered_at_ms", needed=True),
    number_column("cost_micro_usd"),
    Column("cost_is_estimate", Boolean, nullable=False),
    Column("keeps_body", Boolean, nullable=False),
    Column("notes", Document),
    Column("error", Document),
    Column("record", LargeBinary, nullable=False),
    # The large ones last: SQLite would read through them on its way to the others.
    Column("body", LargeBinary, nullable=False),
    Column("answer", AnyText()),
    Index("ix_batched_calls_state_batch_id", "state", "batch_id", "provider", "model", "job_id"),
    Index("ix_batched_calls_provider_batch_id_state", "provider_batch_id", "state", "job_id"),
)
"""Calls of jobs that are made by a provider's batch API. `state` is ready (to be sent), sent, answered or failed.
`body` is the request in the provider's format until it is answered, `answer` what came; `record` is the ledger's, of
its newest attempt; `tries` counts the provider's batches that it was in."""

executors: Final = Table(
    "executors",
    metadata,
    id_column(length=128),
    text_column("host", 128, needed=True),
    Column("pid", Integer, nullable=False),
    number_column("started_at_ms", needed=True),
    number_column("beat_at_ms", needed=True),
    Column("report", Document),
)
"""Worker processes that are alive, by their own word and the database's clock."""

provider_paces: Final = Table(
    "provider_paces",
    metadata,
    id_column("name", 200),
    Column("requests_left", BigInteger),
    Column("tokens_left", BigInteger),
    number_column("refilled_at_ms", needed=True),
    number_column("paused_until_ms"),
)
"""How fast all workers together may still call a provider with one of its keys: a token bucket each, in shares of a
request and of a token (`jobs.pace_rows`). `name` is provider and key; `paused_until_ms` is what the provider's
Retry-After said."""
