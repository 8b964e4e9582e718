"""Every metric that is told: its name, kind, labels and buckets, and how those of several processes become one.

docs/guide/monitoring.md says the same for people, and a test compares the two. Names are an interface: alerts and
dashboards of others are built on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Across: TypeAlias = Literal["sum", "max", "min", "shared"]
"""How the values of several processes become one; shared: each of them knows the same, and one is enough."""
REQUEST_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
FIRST_TOKEN_S: Final = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0)
JOB_S: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
LAG_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `parts` is by how much what is counted is divided when it is told: money is counted in millionths."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    across: Across = "sum"
    buckets: tuple[float, ...] = ()
    parts: int = 1


TARGET: Final = ("provider", "model")
REQUESTS: Final = Family(
    "waypost_requests_total", "counter", "Requests that are over.", labels=("door", "route", "outcome")
)
REQUEST_SECONDS: Final = Family(
    "waypost_request_seconds",
    "histogram",
    "Time from a request to the end of its reply.",
    labels=("door", "route"),
    buckets=REQUEST_S,
)
FIRST_TOKEN_SECONDS: Final = Family(
    "waypost_first_token_seconds",
    "histogram",
    "Time from a request for a stream to its first token.",
    labels=("route",),
    buckets=FIRST_TOKEN_S,
)
ATTEMPTS: Final = Family(
    "waypost_attempts_total", "counter", "Calls to providers that are over.", labels=(*TARGET, "outcome")
)
ATTEMPT_SECONDS: Final = Family(
    "waypost_attempt_seconds",
    "histogram",
    "Time from a call to a provider to the end of its answer.",
    labels=TARGET,
    buckets=REQUEST_S,
)
TOKENS: Final = Family(
    "waypost_tokens_total", "counter", "Tokens, as providers reported them or as estimated.", labels=(*TARGET, "kind")
)
COST: Final = Family(
    "waypost_cost_usd_total", "counter", "What calls cost, in US dollars.", labels=TARGET, parts=1_000_000
)
COST_UNKNOWN: Final = Family(
    "waypost_cost_unknown_total", "counter", "Calls that may have cost something no price is known of.", labels=TARGET
)
JOB_QUEUE_SECONDS: Final = Family(
    "waypost_job_queue_seconds", "histogram", "Time that jobs waited until they were first begun.", buckets=JOB_S
)
JOB_SECONDS: Final = Family(
    "waypost_job_seconds",
    "histogram",
    "Time from the begin of a job's last run to its end.",
    labels=("kind", "outcome"),
    buckets=JOB_S,
)
JOB_STEPS: Final = Family(
    "waypost_job_steps_total", "counter", "Steps of jobs that are over.", labels=("kind", "outcome")
)
LAG_SECONDS: Final = Family(
    "waypost_event_loop_lag_seconds",
    "histogram",
    "How late a timer of the event loop was, ten times a second.",
    buckets=LAG_S,
)
COUNTED: Final = (
    REQUESTS,
    REQUEST_SECONDS,
    FIRST_TOKEN_SECONDS,
    ATTEMPTS,
    ATTEMPT_SECONDS,
    TOKENS,
    COST,
    COST_UNKNOWN,
    JOB_QUEUE_SECONDS,
    JOB_SECONDS,
    JOB_STEPS,
    LAG_SECONDS,
)
"""What is counted as it happens."""
GAUGES: Final = (
    Family("waypost_build_info", "gauge", "The version; always 1.", labels=("version",), across="max"),
    Family("waypost_start_time_seconds", "gauge", "When the oldest process started, Unix time.", across="min"),
    Family("waypost_processes", "gauge", "Processes that this scrape tells of."),
    Family("waypost_requests_in_flight", "gauge", "Requests that are being worked on."),
    Family("waypost_open_streams", "gauge", "Answers of models that are being streamed."),
    Family(
        "waypost_breaker_open",
        "gauge",
        "Is the target's breaker open? 1: it is, 0.5: it is being tried, 0: no.",
        labels=TARGET,
        across="max",
    ),
    Family("waypost_ledger_refusing", "gauge", "Are calls refused, as they cannot be written down?", across="max"),
    Family("waypost_journal_backlog_bytes", "gauge", "Journal that is not in the database yet.", across="shared"),
    Family(
        "waypost_journal_backlog_age_seconds", "gauge", "How long the oldest of it may have waited.", across="shared"
    ),
    Family(
        "waypost_budget_used_ratio",
        "gauge",
        "Spent share of budgets in use, the fullest 100 of them.",
        labels=("subject_kind", "subject", "period"),
        across="max",
    ),
    Family("waypost_jobs", "gauge", "Jobs that wait or run.", labels=("state",), across="shared"),
    Family("waypost_jobs_oldest_queued_seconds", "gauge", "How long the oldest due job has waited.", across="shared"),
    Family("waypost_dead_letters", "gauge", "Jobs given up as they killed their worker.", across="shared"),
    Family("waypost_job_workers", "gauge", "Worker processes that are alive.", across="shared"),
)
"""What is looked at when it is asked for."""
PROCESS: Final = (
    Family("process_cpu_seconds_total", "counter", "User and system CPU time spent in seconds."),
    Family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes."),
    Family("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes."),
    Family("process_open_fds", "gauge", "Number of open file descriptors."),
    Family("process_max_fds", "gauge", "Maximum number of open file descriptors.", across="min"),
    Family("process_start_time_seconds", "gauge", "Start time since unix epoch in seconds.", across="min"),
)
"""What prometheus_client knows of a process, where the system tells it."""
FAMILIES: Final[Mapping[str, Family]] = {each.name: each for each in (*GAUGES, *COUNTED, *PROCESS)}
