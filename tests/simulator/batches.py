"""What the tests of batches ask for, and how they wait until one is over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

PATIENCE_S: Final = 10
Told = TypeVar("Told")


def messages(*texts: str, model: str = "simulated") -> list[Any]:
    """Requests of Anthropic's; each is named by its place, from `c0`. A text may name a model before a colon."""
    return [
        {"custom_id": f"c{place}", "params": {**_conversation(text, model), "max_tokens": 100}}
        for place, text in enumerate(texts)
    ]


def lines(*texts: str, model: str = "simulated") -> bytes:
    """The input file of one of OpenAI's batches."""
    return jsonl([line(f"c{place}", text, model=model) for place, text in enumerate(texts)])


def line(custom_id: str, text: str, *, model: str = "simulated", **changed: Any) -> dict[str, Any]:
    """One line of it."""
    told = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": _conversation(text, model)}
    return {**told, **changed}


def jsonl(values: Sequence[Mapping[str, Any]]) -> bytes:
    """As lines of JSON."""
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def _conversation(text: str, model: str) -> dict[str, Any]:
    named, colon, rest = text.partition(":")
    return {
        "model": named if colon else model,
        "messages": [{"role": "user", "content": rest if colon else text}],
    }


async def until(ask: Callable[[], Awaitable[Told]], is_over: Callable[[Told], bool]) -> Told:
    """What is told in the end."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            told = await ask()
            if is_over(told):
                return told
