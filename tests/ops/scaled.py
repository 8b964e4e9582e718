"""The shipped rules and settings of Prometheus and Alertmanager, made quicker, so that alerts can be waited for.

What is changed, and nothing else:
- every duration (the windows of expressions, `for`, and Alertmanager's waits) is a 30th of what is shipped; a `for` is
  at most LONGEST_FOR_S;
- the thresholds of QUICKER, that would take minutes or hundreds of megabytes to reach, are others;
- intervals of scrapes and evaluations, addresses and paths are the test's.
Names of recorded series stay as they are, though their windows are not what they say any more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "deploy" / "prometheus" / "rules"
PROMETHEUS: Final = ROOT / "deploy" / "prometheus" / "prometheus.yml"
ALERTMANAGER: Final = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
FACTOR: Final = 30
LONGEST_FOR_S: Final = 20.0
INTERVAL_S: Final = 2
UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
QUICKER: Final = {
    "waypost_journal_backlog_bytes > 268435456": "waypost_journal_backlog_bytes > 262144",
    "waypost_journal_backlog_age_seconds > 300": "waypost_journal_backlog_age_seconds > 6",
    "max by (environment) (waypost_jobs_oldest_queued_seconds) > 600": (
        "max by (environment) (waypost_jobs_oldest_queued_seconds) > 10"
    ),
}


def quicker(duration: str, most_s: float = float("inf")) -> str:
    """`5m` as `10000ms`."""
    amount, unit = int(duration[:-1]), duration[-1]
    return f"{int(min(amount * UNITS_S[unit] / FACTOR, most_s) * 1000)}ms"


def scaled_expression(expression: str) -> str:
    """With shorter windows."""
    text = QUICKER.get(expression.strip(), expression)
    return re.sub(r"\[(\d+[smhd])\]", lambda found: f"[{quicker(found[1])}]", text)


def scaled_rules() -> Mapping[str, dict[str, Any]]:
    """By the names of their files."""
    files = {path.name: yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.yml"))}
    expressions = []
    for file in files.values():
        for rule in (rule for group in file["groups"] for rule in group["rules"]):
            expressions.append(rule["expr"].strip())
            rule["expr"] = scaled_expression(rule["expr"])
            if "for" in rule:
                rule["for"] = quicker(rule["for"], LONGEST_FOR_S)
    assert set(QUICKER) <= set(expressions), set(QUICKER) - set(expressions)
    return files


def scaled_prometheus(targets: Mapping[str, list[dict[str, Any]]], alertmanager: str, token: Path) -> dict[str, Any]:
    """`targets` are the static_configs of each job."""
    settings: dict[str, Any] = yaml.safe_load(PROMETHEUS.read_text())
    settings["global"] = {"scrape_interval": f"{INTERVAL_S}s", "evaluation_interval": "1s"}
    settings["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [alertmanager]}]
    for job in settings["scrape_configs"]:
        job["scrape_timeout"] = f"{INTERVAL_S}s"
        job["authorization"]["credentials_file"] = str(token)
        job["static_configs"] = targets[job["job_name"]]
    return settings


def scaled_alertmanager(url: str, token: Path) -> dict[str, Any]:
    """Which tells this address, and shows this token."""
    settings: dict[str, Any] = yaml.safe_load(ALERTMANAGER.read_text())
    for route in (settings["route"], *settings["route"]["routes"]):
        for name in ("group_wait", "group_interval", "repeat_interval"):
            if name in route:
                route[name] = quicker(route[name])
    hook = settings["receivers"][0]["webhook_configs"][0]
    hook["url"] = url
    hook["http_config"]["authorization"]["credentials_file"] = str(token)
    return settings
