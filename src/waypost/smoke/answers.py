"""Answers of a model: whole, and as streams that end truthfully in both of the forms that callers read."""

from __future__ import annotations

from typing import Any

from waypost.smoke.asked import MOST_TOKENS, QUESTION, Smoke
from waypost.smoke.client import Reply
from waypost.smoke.events import Event, events_in
from waypost.smoke.verdict import CheckFailed

GENERATE = "/api/ai/generate"
CHAT = "/v1/chat/completions"


async def check_generation(smoke: Smoke) -> str:
    """POST /api/ai/generate."""
    told = (await smoke.server.post(GENERATE, smoke.question(), smoke.wishes.key)).demand(200).json()
    _demand_text(str(told.get("content") or ""), told.get("finish_reason"))
    failed = [attempt for attempt in told.get("attempts", []) if attempt.get("error")]
    note = f", after {len(failed)} calls that failed" if failed else ""
    return f"{told.get('provider')}/{told.get('model')} answered{note}"


async def check_stream(smoke: Smoke) -> str:
    """POST /api/ai/generate, streamed: `done` comes last, and once."""
    reply = await smoke.server.post(GENERATE, smoke.question(stream=True), smoke.wishes.key)
    events = _events(reply)
    _refuse_error(events)
    names = [event.name for event in events]
    if names[0] != "start" or names[-1] != "done" or names.count("done") != 1:
        raise CheckFailed(f"The stream begins with {names[0]!r} and ends with {names[-1]!r}, not 'start' and 'done'.")
    told = [event.json() for event in events]
    text = "".join(str(data.get("text", "")) for data in told)
    _demand_text(text, told[-1].get("finish_reason"))
    return f"{len(events)} events, the last is done"


async def check_chat_stream(smoke: Smoke) -> str:
    """POST /v1/chat/completions, streamed: a finish_reason, then [DONE], then nothing."""
    body = {
        "model": smoke.wishes.model or "default",
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": MOST_TOKENS,
        "stream": True,
    }
    reply = await smoke.server.post(CHAT, body, smoke.wishes.key)
    limit = reply.headers.get("x-ratelimit-limit-requests", "")
    smoke.requests_per_minute = int(limit) if limit.isdecimal() else None
    events = _events(reply)
    if events[-1].data != "[DONE]":
        _refuse_error(events)
        raise CheckFailed("The stream ends without [DONE].")
    chunks = [event.json() for event in events[:-1]]
    _refuse_error(events[:-1])
    choices = [choice for chunk in chunks for choice in chunk.get("choices", [])]
    reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    if len(reasons) != 1:
        raise CheckFailed(f"The stream ends with [DONE] and has {len(reasons)} finish reasons, not one.")
    _demand_text("".join(_delta_text(choice) for choice in choices), reasons[0])
    return f"{len(chunks)} chunks, {reasons[0]}, [DONE]"


def _events(reply: Reply) -> list[Event]:
    reply.demand(200)
    kind = reply.headers.get("content-type", "")
    if not kind.startswith("text/event-stream"):
        raise CheckFailed(f"A stream was asked for, and what came is {kind or 'of no content type'}.")
    events = events_in(reply.body)
    if not events:
        raise CheckFailed("The stream ended without any event.")
    return events


def _refuse_error(events: list[Event]) -> None:
    for event in events:
        error = event.json().get("error") if event.data != "[DONE]" else None
        if error or event.name == "error":
            told = error.get("message", error) if isinstance(error, dict) else event.data
            raise CheckFailed(f"The stream ended as an error: {str(told)[:300]}")


def _demand_text(text: str, reason: Any) -> None:
    """An answer that used its tokens up for thinking has no text, and says so."""
    if not text.strip() and reason != "length":
        raise CheckFailed(f"The answer is empty, though it ended with {reason!r}.")


def _delta_text(choice: dict[str, Any]) -> str:
    delta = choice.get("delta") or {}
    return str(delta.get("content") or "") + str(delta.get("refusal") or "")
