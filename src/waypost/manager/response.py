"""What the library face gives back, and how it is made from the canonical answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from waypost.chat import Choice, Reasoning, Refusal, Response, Text, ToolCall, Usage
from waypost.errors import Attempt


@dataclass(slots=True)
class AIResponse:
    """A model's answer.

    `usage` counts tokens (`input_tokens`, `output_tokens`, `total_tokens` and what else the provider reported);
    a count that was not reported is None, and `usage` is None if nothing was. `metadata` of Waypost's own
    providers holds: id, finish_reason, raw_finish_reason, tool_calls, reasoning, refusal. The manager adds
    `attempts`, all calls made up to this answer, and `warnings`, sentences about what was not done as asked.
    """

    content: str
    metadata: dict[str, Any] = field(default_factory=dict)
    provider: str = ""
    model: str = ""
    usage: Mapping[str, Any] | None = None
    attempts: tuple[Attempt, ...] = field(default=(), compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)


def to_ai_response(response: Response, provider: str) -> AIResponse:
    """From the canonical answer: the first choice's text, the rest as metadata."""
    choice = response.choices[0] if response.choices else Choice(0, (), "other")
    return AIResponse(
        content=choice.text,
        metadata={
            "id": response.id,
            "finish_reason": choice.reason,
            "raw_finish_reason": choice.raw_reason,
            "tool_calls": [tool_call(part) for part in choice.parts if isinstance(part, ToolCall)],
            "reasoning": _joined(choice, Reasoning),
            "refusal": _joined(choice, Refusal),
        },
        provider=provider,
        model=response.model,
        usage=usage_counts(response.usage),
        warnings=response.notes,
    )


def usd(micro_usd: int | None) -> float | None:
    """Millionths of a dollar as dollars; None stays None."""
    return None if micro_usd is None else micro_usd / 1_000_000


def tool_call(part: ToolCall) -> dict[str, str]:
    """A tool call as plain data; `arguments` is the text the model wrote, most often JSON."""
    return {"call_id": part.call_id, "name": part.name, "arguments": part.arguments}


def usage_counts(usage: Usage) -> dict[str, Any] | None:
    """The counts that were reported, with `total_tokens` where both sides are known. None: nothing was reported."""
    counts = {item.name: value for item in fields(usage) if (value := getattr(usage, item.name)) not in (None, {})}
    if not counts:
        return None
    both = usage.input_tokens is not None and usage.output_tokens is not None
    total = usage.input_tokens + usage.output_tokens if both else None  # type: ignore[operator]
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "total_tokens": total, **counts}


def _joined(choice: Choice, kind: type[Text | Reasoning | Refusal]) -> str:
    return "".join(part.text for part in choice.parts if isinstance(part, kind))
