"""A conversation that ends with the assistant's own words (prefill), and what a provider makes of it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from waypost.chat import Part, Request, Text
from waypost.simulator.script import Prefill


def prefill_of(request: Request) -> str | None:
    """The assistant's words at the conversation's end; None if another speaks last, or no text is there."""
    last = request.messages[-1] if request.messages else None
    return last.text or None if last is not None and last.role == "assistant" else None


def prefilled(parts: list[Part], prefill: str | None, manner: Prefill) -> list[Part]:
    """The parts of an answer, the first text of which takes the words at the conversation's end into account."""
    if prefill is None:
        return parts
    for place, part in enumerate(parts):
        if isinstance(part, Text):
            return [*parts[:place], replace(part, text=_MANNERS[manner](part.text, prefill)), *parts[place + 1 :]]
    return parts


def _continued(text: str, prefill: str) -> str:
    return text.removeprefix(prefill)


def _repeated(text: str, prefill: str) -> str:
    return prefill + text.removeprefix(prefill)


def _alone(text: str, prefill: str) -> str:  # noqa: ARG001 - what was said before is not looked at
    return text


_MANNERS: Final[Mapping[Prefill, Callable[[str, str], str]]] = {
    "continue": _continued,
    "repeat": _repeated,
    "ignore": _alone,
    "refuse": _alone,  # refused before an answer is made
}
