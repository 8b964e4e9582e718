"""Which door a path belongs to: the calls it takes, and the dialect in which whatever goes wrong there is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from starlette.types import Scope

from waypost.server.doors.anthropic_messages import ANTHROPIC_MESSAGES
from waypost.server.doors.door import Door
from waypost.server.doors.gemini import GEMINI
from waypost.server.doors.openai_chat import OPENAI_CHAT
from waypost.server.doors.openai_responses import OPENAI_RESPONSES
from waypost.server.middleware.headers import header_value
from waypost.server.middleware.json_only import PASSED_THROUGH
from waypost.telemetry.facts import Door as DoorName

CALLS: Final[Mapping[str, Door]] = {
    "/v1/chat/completions": OPENAI_CHAT,
    "/v1/messages": ANTHROPIC_MESSAGES,
    "/v1/responses": OPENAI_RESPONSES,
    "/v1beta/models/{call:path}": GEMINI,
    # Google's current SDK calls these.
    "/v1/models/{call:path}": GEMINI,
}
"""Where conversations are sent to, each with POST."""

TERRITORY: Final[tuple[tuple[re.Pattern[str], Door], ...]] = (
    (re.compile(r"/v1beta/.*"), GEMINI),
    (re.compile(r"/v1/models/.+:[A-Za-z]+"), GEMINI),
    (re.compile(r"/v1/messages(/.*)?"), ANTHROPIC_MESSAGES),
    (re.compile(r"/v1/responses(/.*)?"), OPENAI_RESPONSES),
    (re.compile(r"/v1/chat/.*"), OPENAI_CHAT),
)
"""Paths whose dialect is plain, pages that do not exist too; the first that matches counts."""

SHARED: Final = "/v1/"
"""Below it, what TERRITORY does not name is OpenAI's, or another's if the caller sends a header of its."""

DOOR_NAMES: Final[Mapping[str, DoorName]] = {
    "/v1/chat/completions": "openai_chat",
    "/v1/messages": "anthropic_messages",
    "/v1/responses": "openai_responses",
    "/v1/embeddings": "embeddings",
    "/api/ai/generate": "generate",
}
_GEMINI_CALL: Final = re.compile(r"/v1(?:beta)?/models/.+:([A-Za-z]+)")
_GEMINI_NAMES: Final[Mapping[str, DoorName]] = {
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
}


def door_name(scope: Scope) -> DoorName:
    """Where a request for an answer came in, as metrics and spans name it; "other" for everything else."""
    if scope["method"] != "POST":
        return "raw" if scope["path"].startswith(PASSED_THROUGH) else "other"
    path = scope["path"]
    name = DOOR_NAMES.get(path)
    if name is not None:
        return name
    if path.startswith(PASSED_THROUGH):
        return "raw"
    call = _GEMINI_CALL.fullmatch(path)
    return "other" if call is None else _GEMINI_NAMES.get(call[1], "other")


def door_at(scope: Scope) -> Door | None:
    """The door whose dialect the caller speaks; None on paths that are Waypost's own."""
    path = scope["path"]
    if path in CALLS:
        return CALLS[path]
    for pattern, door in TERRITORY:
        if pattern.fullmatch(path):
            return door
    if not path.startswith(SHARED):
        return None
    if header_value(scope, b"x-goog-api-key") is not None:
        return GEMINI
    # Source: Anthropic's API reference: every request must carry this header.
    return OPENAI_CHAT if header_value(scope, b"anthropic-version") is None else ANTHROPIC_MESSAGES
