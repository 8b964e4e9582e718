"""From the AI service's answer to the JSON that callers get. `models` describes it; tests compare the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from waypost.doors.envelope import told_error
from waypost.errors import Attempt
from waypost.manager.response import AIResponse


@dataclass(frozen=True, slots=True)
class Answer:
    """What a whole answer and a finished stream have in common."""

    id: str
    provider: str
    model: str
    usage: Mapping[str, Any] | None
    cost_usd: float | None
    attempts: Sequence[Attempt]
    finish_reason: str | None
    tool_calls: Sequence[Mapping[str, str]]
    warnings: Sequence[str]

    def fields(self) -> dict[str, Any]:
        """As JSON data, complete as of now."""
        return {
            "id": self.id,
            "provider": self.provider,
            "model": self.model,
            "usage": self.usage,
            "cost_usd": self.cost_usd,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "attempts": [attempt_fields(attempt) for attempt in self.attempts],
            "finish_reason": self.finish_reason,
            "tool_calls": list(self.tool_calls),
            "warnings": list(self.warnings),
        }


def whole_reply(response: AIResponse, answer_id: str) -> dict[str, Any]:
    """The JSON reply. A user's own provider may have left metadata and usage out: those are null then."""
    metadata = response.metadata or {}
    content = {
        "content": response.content,
        "reasoning": metadata.get("reasoning") or None,
        "refusal": metadata.get("refusal") or None,
    }
    return {**content, **answer_of(response, answer_id).fields()}


def answer_of(response: AIResponse, answer_id: str) -> Answer:
    """Everything but the text."""
    metadata = response.metadata or {}
    return Answer(
        id=answer_id,
        provider=response.provider,
        model=response.model,
        usage=response.usage,
        cost_usd=metadata.get("cost_usd"),
        attempts=response.attempts,
        finish_reason=metadata.get("finish_reason"),
        tool_calls=metadata.get("tool_calls") or (),
        warnings=response.warnings,
    )


def attempt_fields(attempt: Attempt) -> dict[str, Any]:
    """One call as JSON data."""
    return {
        "provider": attempt.provider,
        "model": attempt.model,
        "error": told_error(attempt.error),
        "duration_ms": attempt.duration_ms,
    }
