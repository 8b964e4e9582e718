"""What Waypost's Grafana dashboards show: a table of panels for each. How they are drawn is in tools/dashboards.py.

E is put into every expression: dashboards are of one installation, or of all that one Prometheus watches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

E: Final = 'environment=~"$environment"'
PER: Final = "[$__rate_interval]"


@dataclass(frozen=True)
class Line:
    """An expression, and how its series are called: {{label}} stands for a label's value."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One picture. `unit` is Grafana's; `width` in 24ths of the page; a number if `is_number`, else lines over time."""

    title: str
    meaning: str
    lines: tuple[Line, ...]
    unit: str = "short"
    width: int = 12
    is_number: bool = False
    is_stacked: bool = False
    warn_at: float | None = None
    """From here on it is drawn in red."""


@dataclass(frozen=True)
class Page:
    """One dashboard: rows of panels under titles. The panels of a row fill whole lines of 24."""

    name: str
    title: str
    meaning: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


def number(title: str, meaning: str, expression: str, unit: str = "short", warn_at: float | None = None) -> Panel:
    """A figure, four in a line."""
    return Panel(title, meaning, (Line(expression),), unit, 6, is_number=True, warn_at=warn_at)


def total(metric: str, by: str = "", labels: str = "", per: str = PER) -> str:
    """The rate of a counter, summed."""
    group = f" by ({by})" if by else ""
    return f"sum{group} (rate({metric}{{{E}{labels}}}{per}))"


def quantile(share: float, metric: str, by: str = "", labels: str = "") -> str:
    """Of a histogram, by these labels."""
    group = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({group}) (rate({metric}_bucket{{{E}{labels}}}{PER})))"


MODELS: Final = ',door!="other"'
FAILED: Final = ',door!="other",outcome="failed"'
OVERVIEW: Final = Page(
    "waypost-overview",
    "Waypost: overview",
    "What callers get: traffic, errors, time, tokens and cost.",
    (
        (
            "Now",
            (
                number(
                    "Requests",
                    "Requests to models, each second.",
                    total("waypost_requests_total", labels=MODELS),
                    "reqps",
                ),
                number(
                    "Failed",
                    "Share of requests that were neither answered, turned down nor left.",
                    f"{total('waypost_requests_total', labels=FAILED)}"
                    f" / {total('waypost_requests_total', labels=MODELS)}",
                    "percentunit",
                    0.01,
                ),
                number(
                    "First token, p95",
                    "One stream in twenty waits longer.",
                    quantile(0.95, "waypost_first_token_seconds"),
                    "s",
                    5,
                ),
                number(
                    "Cost a day",
                    "US dollars, at the pace of the last hour.",
                    f"86400 * {total('waypost_cost_usd_total', per='[1h]')}",
                    "currencyUSD",
                ),
            ),
        ),
        (
            "Traffic",
            (
                Panel(
                    "Requests by outcome",
                    "refused: turned down before any provider was asked.",
                    (Line(total("waypost_requests_total", "outcome", MODELS), "{{outcome}}"),),
                    "reqps",
                    is_stacked=True,
                ),
                Panel(
                    "Requests by door and route",
                    "Where requests come in, and which route they take.",
                    (Line(total("waypost_requests_total", "door, route", MODELS), "{{door}} {{route}}"),),
                    "reqps",
                    is_stacked=True,
                ),
                Panel(
                    "Under way",
                    "Requests that are being worked on, and answers that are being streamed.",
                    (
                        Line(f"sum (waypost_requests_in_flight{{{E}}})", "requests"),
                        Line(f"sum (waypost_open_streams{{{E}}})", "streams"),
                    ),
                ),
                Panel(
                    "Failed, by route",
                    "Requests that were asked of providers and came to nothing.",
                    (Line(total("waypost_requests_total", "route", ',route!="",outcome="failed"'), "{{route}}"),),
                    "reqps",
                ),
            ),
        ),
        (
            "Time",
            (
                Panel(
                    "First token",
                    "From a request for a stream to its first token, fallbacks included.",
                    (
                        Line(quantile(0.5, "waypost_first_token_seconds", "route"), "p50 {{route}}"),
                        Line(quantile(0.95, "waypost_first_token_seconds", "route"), "p95 {{route}}"),
                    ),
                    "s",
                    warn_at=5,
                ),
                Panel(
                    "Whole request",
                    "To the last byte of the reply.",
                    (
                        Line(quantile(0.5, "waypost_request_seconds", labels=MODELS), "p50"),
                        Line(quantile(0.95, "waypost_request_seconds", labels=MODELS), "p95"),
                        Line(quantile(0.99, "waypost_request_seconds", labels=MODELS), "p99"),
                    ),
                    "s",
                ),
            ),
        ),
        (
            "Tokens and cost",
            (
                Panel(
                    "Tokens",
                    "cache_read and cache_write are parts of input, reasoning of output.",
                    (Line(total("waypost_tokens_total", "kind"), "{{kind}}"),),
                ),
                Panel(
                    "Cost an hour",
                    "US dollars, by model.",
                    (Line(f"3600 * {total('waypost_cost_usd_total', 'provider, model')}", "{{provider}}/{{model}}"),),
                    "currencyUSD",
                    is_stacked=True,
                ),
            ),
        ),
        (
            "Processes",
            (
                Panel(
                    "Event loop lag, p99",
                    "How late timers are; streams stutter by as much.",
                    (Line(quantile(0.99, "waypost_event_loop_lag_seconds", "instance"), "{{instance}}"),),
                    "s",
                    8,
                    warn_at=0.25,
                ),
                Panel(
                    "CPU",
                    "Cores in use.",
                    (Line(total("process_cpu_seconds_total", "instance", ',job=~"waypost.*"'), "{{instance}}"),),
                    "short",
                    8,
                ),
                Panel(
                    "Memory",
                    "Resident, of all processes of a server together.",
                    (
                        Line(
                            f'sum by (instance) (process_resident_memory_bytes{{{E},job=~"waypost.*"}})',
                            "{{instance}}",
                        ),
                    ),
                    "bytes",
                    8,
                ),
            ),
        ),
    ),
)
TARGET: Final = "{{provider}}/{{model}}"
PROVIDERS: Final = Page(
    "waypost-providers",
    "Waypost: providers",
    "How providers answer: calls, failures, time, breakers.",
    (
        (
            "Calls",
            (
                Panel(
                    "Calls by provider",
                    "Every attempt, retries and hedges too.",
                    (Line(total("waypost_attempts_total", "provider"), "{{provider}}"),),
                    "reqps",
                    is_stacked=True,
                ),
                Panel(
                    "Failures by error",
                    "By the codes of docs/reference/errors.md.",
                    (
                        Line(
                            total("waypost_attempts_total", "provider, outcome", ',outcome=~"failed_.+"'),
                            "{{provider}} {{outcome}}",
                        ),
                    ),
                    "reqps",
                ),
                Panel(
                    "Failing share",
                    "Without what callers did wrong; 1 % is the objective. As the alerts see it.",
                    (
                        Line(f"waypost:provider_failures:ratio_rate5m{{{E}}}", "{{provider}} 5m"),
                        Line(f"waypost:provider_failures:ratio_rate1h{{{E}}}", "{{provider}} 1h"),
                    ),
                    "percentunit",
                    warn_at=0.01,
                ),
                Panel(
                    "Error budget that is left",
                    "Of the 1 % of calls that may fail, at the pace of three days.",
                    (Line(f"1 - waypost:provider_failures:ratio_rate3d{{{E}}} / 0.01", "{{provider}}"),),
                    "percentunit",
                ),
            ),
        ),
        (
            "Health",
            (
                Panel(
                    "Breakers",
                    "1: open, the target is not asked; 0.5: it is being tried.",
                    (Line(f"max by (provider, model) (waypost_breaker_open{{{E}}})", TARGET),),
                    warn_at=0.5,
                ),
                Panel(
                    "Time of a call, p95",
                    "To the end of its answer, or to its failure.",
                    (Line(quantile(0.95, "waypost_attempt_seconds", "provider, model"), TARGET),),
                    "s",
                ),
            ),
        ),
        (
            "What they take",
            (
                Panel(
                    "Tokens by model",
                    "Of prompts and answers.",
                    (
                        Line(
                            total("waypost_tokens_total", "provider, model, kind", ',kind=~"input|output"'),
                            f"{TARGET} {{{{kind}}}}",
                        ),
                    ),
                    width=8,
                ),
                Panel(
                    "Cost an hour",
                    "US dollars, by provider.",
                    (Line(f"3600 * {total('waypost_cost_usd_total', 'provider')}", "{{provider}}"),),
                    "currencyUSD",
                    8,
                    is_stacked=True,
                ),
                Panel(
                    "Calls without a price",
                    "They may have cost something: set a price.",
                    (Line(total("waypost_cost_unknown_total", "provider, model"), TARGET),),
                    "reqps",
                    8,
                ),
            ),
        ),
    ),
)
JOBS: Final = Page(
    "waypost-jobs",
    "Waypost: jobs",
    "Analyses, batches and answers in the background.",
    (
        (
            "Now",
            (
                number("Waiting", "Jobs in the queue.", f'max (waypost_jobs{{{E},state="queued"}})'),
                number(
                    "Oldest waits",
                    "Of the jobs that could be begun.",
                    f"max (waypost_jobs_oldest_queued_seconds{{{E}}})",
                    "s",
                    600,
                ),
                number("Workers", "Processes that are alive.", f"max (waypost_job_workers{{{E}}})"),
                number(
                    "Dead letters",
                    "Given up, as they killed their worker.",
                    f"max (waypost_dead_letters{{{E}}})",
                    warn_at=1,
                ),
            ),
        ),
        (
            "Queue",
            (
                Panel(
                    "Jobs",
                    "That wait or run.",
                    (Line(f"max by (state) (waypost_jobs{{{E}}})", "{{state}}"),),
                ),
                Panel(
                    "Time in the queue",
                    "Until a job was begun; counted when it ends.",
                    (
                        Line(quantile(0.5, "waypost_job_queue_seconds"), "p50"),
                        Line(quantile(0.95, "waypost_job_queue_seconds"), "p95"),
                    ),
                    "s",
                ),
            ),
        ),
        (
            "Work",
            (
                Panel(
                    "Ended",
                    "By kind and outcome.",
                    (Line(total("waypost_job_seconds_count", "kind, outcome"), "{{kind}} {{outcome}}"),),
                    "ops",
                    8,
                ),
                Panel(
                    "Time of a job, p95",
                    "From the begin of its last run.",
                    (Line(quantile(0.95, "waypost_job_seconds", "kind"), "{{kind}}"),),
                    "s",
                    8,
                ),
                Panel(
                    "Steps",
                    "left: another worker does it again.",
                    (Line(total("waypost_job_steps_total", "kind, outcome"), "{{kind}} {{outcome}}"),),
                    "ops",
                    8,
                ),
            ),
        ),
    ),
)
LEDGER: Final = Page(
    "waypost-ledger",
    "Waypost: ledger",
    "Money, budgets, and the journal on its way into the database.",
    (
        (
            "Journal",
            (
                Panel(
                    "Not in the database yet",
                    "It grows while the database is away; at ledger.journal_max_bytes calls are refused.",
                    (Line(f"waypost_journal_backlog_bytes{{{E}}}", "{{instance}}"),),
                    "bytes",
                    8,
                ),
                Panel(
                    "For how long",
                    "A second or two is normal.",
                    (Line(f"waypost_journal_backlog_age_seconds{{{E}}}", "{{instance}}"),),
                    "s",
                    8,
                    warn_at=300,
                ),
                Panel(
                    "Refusing",
                    "1: calls are refused, as they cannot be written down.",
                    (Line(f"waypost_ledger_refusing{{{E}}}", "{{instance}}"),),
                    width=8,
                    warn_at=1,
                ),
            ),
        ),
        (
            "Money",
            (
                Panel(
                    "Budgets",
                    "Spent share of the fullest.",
                    (
                        Line(
                            f"topk(20, waypost:budget_used:ratio{{{E}}})",
                            "{{subject_kind}} {{subject}} ({{period}})",
                        ),
                    ),
                    "percentunit",
                    warn_at=0.95,
                ),
                Panel(
                    "Spent in a day",
                    "US dollars within the 24 hours before, by model.",
                    (
                        Line(
                            f"sum by (provider, model) (increase(waypost_cost_usd_total{{{E}}}[1d]))",
                            TARGET,
                        ),
                    ),
                    "currencyUSD",
                    is_stacked=True,
                ),
            ),
        ),
    ),
)
PAGES: Final = (OVERVIEW, PROVIDERS, JOBS, LEDGER)
