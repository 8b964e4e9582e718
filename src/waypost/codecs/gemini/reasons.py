"""Why a candidate ended, both ways. Google says STOP for function calls too, and has a reason for blocked prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from waypost.chat import FinishReason
from waypost.codecs.gemini.wire import Losses

FINISH_REASONS: Final[Mapping[str, FinishReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "MODEL_ARMOR",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        "content_filter",
    ),
    **dict.fromkeys(
        (
            "OTHER",
            "LANGUAGE",
            "MALFORMED_FUNCTION_CALL",
            "MALFORMED_RESPONSE",
            "UNEXPECTED_TOOL_CALL",
            "TOO_MANY_TOOL_CALLS",
            "MISSING_THOUGHT_SIGNATURE",
            "NO_IMAGE",
            "IMAGE_OTHER",
            "FINISH_REASON_UNSPECIFIED",
        ),
        "other",
    ),
}
"""Source: Gemini API, Candidate.FinishReason, and what Google's SDKs list beyond it."""

_WORDS: Final[Mapping[FinishReason, str]] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "pause": "STOP",
    "other": "OTHER",
}


def finish_reason(raw: str | None, *, called: bool) -> FinishReason:
    """The canonical reason; "other" for a word this version does not know. `called`: are there function calls?"""
    reason = FINISH_REASONS.get(raw or "", "other")
    return "tool_calls" if reason == "stop" and called else reason


def wire_reason(reason: FinishReason, raw: str | None, losses: Losses, what: str) -> str:
    """Google's word: its own raw one if that means the same, else the nearest."""
    if reason == "pause":
        losses.add(f"{what}.reason", f"Gemini has no word for {raw or reason!r}: written as STOP.")
    return raw if raw is not None and FINISH_REASONS.get(raw) == reason else _WORDS[reason]
