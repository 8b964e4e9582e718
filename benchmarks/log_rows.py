"""A request log to measure queries on: any number of requests over ninety days, skewed as such logs are.

The same number gives the same rows. A few projects, models and people make most of them, failures are few, some values
come once in a hundred thousand rows, and one model and one person were only seen in the first days.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

SPAN_MS: Final = 90 * 24 * 60 * 60 * 1000
END_MS: Final = 1_795_651_200_000
"""2026-11-26."""
BATCH: Final = 20_000

COLUMNS: Final = (
    "id",
    "request_id",
    "started_at_ms",
    "project_id",
    "key_id",
    "end_user",
    "path",
    "route",
    "asked_model",
    "stream",
    "provider",
    "model",
    "end_state",
    "status",
    "error_code",
    "attempts",
    "input_tokens",
    "input_cache_read_tokens",
    "output_tokens",
    "output_reasoning_tokens",
    "cost_micro_usd",
    "cost_is_estimate",
    "first_token_ms",
    "total_ms",
    "tags",
)

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Skewed:
    """Names of which the first are drawn most often: the n-th about once in n draws of the first."""

    names: Sequence[str]

    def drawn(self, source: random.Random, count: int) -> list[str]:
        """So many of them."""
        return source.choices(self.names, [1 / number for number in range(1, len(self.names) + 1)], k=count)


PROJECTS: Final = Skewed([f"proj_{number:026d}" for number in range(30)])
KEYS_EACH: Final = 8
PEOPLE: Final = Skewed([f"user-{number}@example.com" for number in range(50_000)])
TEAMS: Final = Skewed([f"team-{number}" for number in range(12)])
FEATURES: Final = Skewed([f"feature-{number}" for number in range(100)])
ROUTES: Final = Skewed(["default", "chat", "cheap", "long", "search", "nightly", "vision", "trial"])
MODELS: Final = Skewed([f"model-{number // 4}-{'abcd'[number % 4]}" for number in range(48)])
FAILURES: Final = Skewed(
    [
        "provider_rate_limited:429",
        "provider_timeout:504",
        "invalid_request:400",
        "provider_overloaded:503",
        "provider_server_error:502",
        "context_length_exceeded:400",
        "content_policy_violation:400",
        "body_too_large:413",
    ]
)
RARE_SHARE: Final = 100_000
OLD_ROWS_SHARE: Final = 20
"""The model `model-old` and the person `old@example.com` are in the first twentieth only."""


def rows(count: int, seed: int = 1) -> Iterator[list[Row]]:
    """So many requests, oldest first, in lists of BATCH."""
    source = random.Random(seed)
    for begin in range(0, count, BATCH):
        yield _batch(source, begin, min(BATCH, count - begin), count)


def _batch(source: random.Random, begin: int, size: int, count: int) -> list[Row]:
    projects, people, models = (skewed.drawn(source, size) for skewed in (PROJECTS, PEOPLE, MODELS))
    routes, teams, features = (skewed.drawn(source, size) for skewed in (ROUTES, TEAMS, FEATURES))
    return [
        _row(source, begin + at, count, projects[at], people[at], models[at], routes[at], teams[at], features[at])
        for at in range(size)
    ]


def _row(
    source: random.Random,
    number: int,
    count: int,
    project: str,
    person: str,
    model: str,
    route: str,
    team: str,
    feature: str,
) -> Row:
    started_at_ms = END_MS - SPAN_MS + number * SPAN_MS // count + source.randrange(2)
    is_old, is_rare = number < count // OLD_ROWS_SHARE, number % RARE_SHARE == RARE_SHARE // 2
    if is_old and number % 50 == 0:
        model, person = "model-old", "old@example.com"
    chance, error_code, status, end_state = source.random(), None, 200, "answered"
    if chance < 0.03:
        (error_code, _, told), end_state = FAILURES.drawn(source, 1)[0].partition(":"), "failed"
        status = int(told)
    elif chance < 0.04:
        end_state = "caller_left"
    elif chance < 0.041:
        status, end_state = None, "unknown"  # type: ignore[assignment]
    tags = {"env": "production" if source.random() < 0.8 else "staging", "team": team, "feature": feature}
    if is_rare:
        tags["customer"] = "rare"
        model, person, route, end_state, status, error_code = (
            "model-rare",
            "rare@example.com",
            "rare",
            "failed",
            418,
            "rare",
        )
    total_ms = int(source.lognormvariate(7, 1.2))
    output = int(source.lognormvariate(5, 1))
    return (
        f"{started_at_ms:012x}{number:08x}{source.getrandbits(48):012x}",
        f"req_{source.getrandbits(128):032x}",
        started_at_ms,
        project,
        f"key_{project[-4:]}{source.randrange(KEYS_EACH):022d}",
        person if source.random() < 0.6 else None,
        "/v1/chat/completions",
        route,
        route,
        source.random() < 0.5,
        "rare" if is_rare else f"provider-{model[6]}" if model[6].isdigit() else "provider-0",
        model,
        end_state,
        status,
        error_code,
        1 if chance > 0.05 else 2,
        int(source.lognormvariate(6, 1.5)),
        0,
        output,
        None,
        None if source.random() < 0.05 else int(source.lognormvariate(7, 2)),
        chance < 0.01,
        total_ms // 4,
        total_ms,
        json.dumps(tags) if source.random() < 0.7 or is_rare else None,
    )
