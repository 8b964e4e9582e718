"""The checks, by name and in their order."""

from __future__ import annotations

from typing import Final

CHECKS: Final = (
    "health",
    "version",
    "ready",
    "generation",
    "stream",
    "chat_stream",
    "analysis",
    "body_limit",
    "wrong_key",
    "rate_limit",
    "metrics",
)
