"""A request's story in plain words, and as JSON. Reads a story, knows nothing else, and adds nothing to it.

The invariant: one sentence for the beginning, one for each attempt and what it led to, and then how it ended; no text
from outside is told but names, on one line and cut to a length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

from waypost.chat import Json
from waypost.errors import Next
from waypost.gateway.story import AttemptStory, Outcome, RequestStory

MAX_CHARACTERS = 200
"""Of any one text that a story took from outside."""


def sentences(story: RequestStory) -> list[str]:
    """The story, from the beginning to the end."""
    told = [_beginning(story)]
    told += [_attempt(number, attempt) for number, attempt in enumerate(story.attempts, 1)]
    told.append(_ending(story))
    told.append(_spending(story))
    return told + [_plain(note) for note in story.notes]


def story_json(story: RequestStory) -> dict[str, Json]:
    """The story as a JSON object: times in ms, cost in millionths of a dollar, null for what is not known."""
    usage = asdict(story.usage)
    return {
        "request_id": _plain(story.request_id),
        "model": _plain(story.asked_model),
        "route": None if story.route is None else _plain(story.route),
        "started_at": _time(story.started_at),
        "duration_ms": story.duration_ms,
        "outcome": story.outcome,
        "status": story.status,
        "attempts": [_attempt_json(attempt) for attempt in story.attempts],
        "usage": {**usage, "server_tool_calls": dict(story.usage.server_tool_calls)},
        "incomplete_usage": sorted(story.incomplete_usage),
        "cost_micro_usd": story.cost_micro_usd,
        "notes": [_plain(note) for note in story.notes],
        "explanation": sentences(story),
    }


def _attempt_json(attempt: AttemptStory) -> dict[str, Json]:
    return {name: _plain(value) if isinstance(value, str) else value for name, value in asdict(attempt).items()}


def _beginning(story: RequestStory) -> str:
    route = "" if story.route is None else f", which is the route {_plain(story.route)}"
    asked = f'asked for "{_plain(story.asked_model)}"{route}'
    return f"Request {_plain(story.request_id)} of {_time(story.started_at)} {asked}."


def _attempt(number: int, attempt: AttemptStory) -> str:
    key = f", with the key {_plain(attempt.key_label)}" if attempt.key_label else ""
    times = f"from {_span(attempt.started_ms)} to {_span(attempt.started_ms + attempt.duration_ms)}"
    led_to = NEXT[attempt.reason_next](attempt)
    return f"{number}. {_plain(attempt.target)} ({times}{key}) {_deed(attempt)}{led_to}."


def _deed(attempt: AttemptStory) -> str:
    """What the target did."""
    token = "" if attempt.first_token_ms is None else f"gave its first token after {_span(attempt.first_token_ms)}"
    if attempt.error_code is None:
        if attempt.reason_next == "answered":
            return f"{token} and gave its whole answer" if token else "gave its whole answer"
        return token or "was under way"
    asked = "" if attempt.asked_wait_ms is None else f" and asked to wait {_span(attempt.asked_wait_ms)}"
    return f"{token}{', then ' if token else ''}{_plain(attempt.error_sentence)}{asked}"


def _retried(attempt: AttemptStory) -> str:
    wait = f" after {_span(attempt.waited_ms)}" if attempt.waited_ms else " at once"
    if attempt.asked_wait_ms is not None and attempt.wait_limit_ms is not None:
        return f"; that was within the limit of {_span(attempt.wait_limit_ms)}, so it was asked again{wait}"
    return f"; it was asked again{wait}"


def _passed_over(attempt: AttemptStory) -> str:
    asked, limit = attempt.asked_wait_ms, attempt.wait_limit_ms
    if asked is not None and limit is not None and asked > limit:
        return f"; that was over the limit of {_span(limit)}, so the next target was asked"
    return "; the next target was asked"


MAY_COST: Final = "its provider may bill it all the same, which is not in the cost below"


def _lost(attempt: AttemptStory) -> str:
    if attempt.error_code is not None:
        return "; it had been started beside the one before"
    return f" beside the one before and was ended, because that was faster; {MAY_COST}"


_WAYS: Final[Mapping[str | None, str]] = {
    "prefill": " by continuing the text",
    "user_turn": " by asking in a further turn for the rest",
    "restart": " by beginning again and comparing with what had been sent",
}

NEXT: Final[Mapping[Next, Callable[[AttemptStory], str]]] = {
    "retry": _retried,
    "next_target": _passed_over,
    "next_key": lambda _: "; it was asked again with the next key",
    "larger_window": lambda _: "; the next target with a larger context window was asked",
    "recovery": lambda attempt: f"; the broken stream was gone on with{_WAYS.get(attempt.way, '')}",
    "hedge": lambda _: f" and was ended, because the call started beside it was faster; {MAY_COST}",
    "answered": lambda _: "",
    "lost": _lost,
    "caller_left": lambda _: " and was ended, because the caller had left",
    "end": lambda _: "; nothing else could be tried",
}
"""What came of an attempt, as the end of its sentence."""

_OUTCOMES: Final[Mapping[Outcome, str]] = {
    "answered": "The request was answered",
    "failed": "The request failed",
    "caller_left": "The caller left before the request was answered",
}


def _ending(story: RequestStory) -> str:
    status = "" if story.status is None else f" with HTTP status {story.status}"
    count = len(story.attempts)
    calls = f"{count} attempt{'' if count == 1 else 's'}"
    return f"{_OUTCOMES[story.outcome]}{status}, after {_span(story.duration_ms)} and {calls}."


def _spending(story: RequestStory) -> str:
    tokens_in = _count(story, "input_tokens")
    tokens_out = _count(story, "output_tokens")
    cost = "is not known" if story.cost_micro_usd is None else f"was ${story.cost_micro_usd / 1_000_000:.6f}"
    return f"Tokens in: {tokens_in}; tokens out: {tokens_out}; the cost {cost}."


def _count(story: RequestStory, name: str) -> str:
    count: int | None = getattr(story.usage, name)
    if count is None:
        return "not reported"
    return f"at least {count}" if name in story.incomplete_usage else str(count)


def _span(span_ms: int) -> str:
    return f"{span_ms} ms" if abs(span_ms) < 1_000 else f"{span_ms / 1_000:.4g} s"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(text: str) -> str:
    """On one line, without control characters, and not longer than the bound."""
    line = "".join(character if character.isprintable() else " " for character in text[: MAX_CHARACTERS + 1])
    return line if len(line) <= MAX_CHARACTERS else f"{line[: MAX_CHARACTERS - 1]}…"
