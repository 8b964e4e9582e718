"""What a smoke test is told, and what its checks learn of the server as they go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from waypost.smoke.client import Server


@dataclass(frozen=True, slots=True)
class Wishes:
    """`key` asks models, `admin_key` administers; None: there is none. `model` None: the default route."""

    key: str | None = None
    admin_key: str | None = None
    model: str | None = None
    expect_version: str | None = None


@dataclass(slots=True)
class Smoke:
    """One run over one server."""

    server: Server
    wishes: Wishes
    version: str | None = None
    """What /health says."""
    asks_for_keys: bool | None = None
    """None: not known yet."""
    requests_per_minute: int | None = None
    """The key's own limit, as replies tell it."""
    remaining: list[str] = field(default_factory=list)
    """What could not be cleaned up."""

    def question(self, **more: Any) -> dict[str, Any]:
        """The fields of a short question for /api/ai/generate."""
        named = {} if self.wishes.model is None else {"model": self.wishes.model}
        return {"prompt": QUESTION, "max_tokens": MOST_TOKENS, **named, **more}


QUESTION = "Say hello in one short sentence."
MOST_TOKENS = 256
"""Enough for a model that thinks before it speaks."""
