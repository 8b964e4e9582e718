"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from waypost.codecs.openai_chat import codec
from waypost.doors.reading import read_written
from waypost.providers.asked import Asked
from waypost.server.doors.door import Door, forwarded_headers
from waypost.server.doors.limits import openai_limit_headers

FORWARDED: Final = ("openai-beta",)


def read(scope: Scope, body: bytes) -> Asked:
    """Everything stands in the body. Raises InvalidRequest."""
    return read_written(codec, body, forwarded_headers(scope, FORWARDED))


OPENAI_CHAT: Final = Door(codec, read, limit_headers=openai_limit_headers)
