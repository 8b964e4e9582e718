"""Where an answer breaks off because the request says so: at a stop sequence, or at the largest number of tokens."""

from __future__ import annotations

from dataclasses import replace

from waypost.chat import Part, Reasoning, Refusal, Text, ToolCall
from waypost.simulator.tokens import split_tokens


def stopped(parts: list[Part], stop_sequences: tuple[str, ...]) -> tuple[list[Part], str | None]:
    """The parts up to the first stop sequence in a text, which is not given out itself."""
    for place, part in enumerate(parts):
        if isinstance(part, Text):
            hits = [(part.text.find(stop), stop) for stop in stop_sequences if stop and stop in part.text]
            if hits:
                position, stop = min(hits)
                return [*parts[:place], replace(part, text=part.text[:position])], stop
    return parts, None


def shortened(parts: list[Part], max_tokens: int | None) -> tuple[list[Part], bool]:
    """The parts up to the largest number of tokens, and whether anything was cut off."""
    if max_tokens is None:
        return parts, False
    left = max_tokens
    kept: list[Part] = []
    for part in parts:
        text = _grown_text(part)
        tokens = split_tokens(text)
        if len(tokens) > left:
            short = "".join(tokens[:left])
            return [*kept, *([_with_grown_text(part, short)] if short else [])], True
        left -= len(tokens)
        kept.append(part)
    return kept, False


def _grown_text(part: Part) -> str:
    if isinstance(part, ToolCall):
        return part.arguments
    return part.text if isinstance(part, Text | Reasoning | Refusal) else ""


def _with_grown_text(part: Part, text: str) -> Part:
    if isinstance(part, ToolCall):
        return replace(part, arguments=text)
    return replace(part, text=text) if isinstance(part, Text | Reasoning | Refusal) else part
