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
