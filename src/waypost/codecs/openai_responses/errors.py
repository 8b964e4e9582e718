"""Errors that come inside a response or a stream, both ways. Replies with an error status are Chat Completions' own.

A failed response has a short list of codes, which SDKs check; our own code for the error stands in `type` beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from waypost.chat import Json
from waypost.codecs.openai_chat.errors import INVALID, WIRE_ERRORS, error_in_body
from waypost.errors import ProviderError, ProviderServerError, WaypostError

POLICY: Final = "content_policy_violation"
OVERLOADED: Final = "overloaded_error"

KINDS: Final[Mapping[str, str]] = {
    "invalid_prompt": POLICY,
    "bio_policy": POLICY,
    "misalignment_policy_violation": POLICY,
    "image_content_policy_violation": POLICY,
    "server_is_overloaded": OVERLOADED,
    "slow_down": OVERLOADED,
    **dict.fromkeys(
        (
            "data_residency_mismatch",
            "invalid_image",
            "invalid_image_format",
            "invalid_base64_image",
            "invalid_image_url",
            "image_too_large",
            "image_too_small",
            "image_parse_error",
            "invalid_image_mode",
            "image_file_too_large",
            "unsupported_image_media_type",
            "empty_image_file",
            "failed_to_download_image",
            "image_file_not_found",
        ),
        INVALID,
    ),
}
"""Codes that only this format has, as the type that Chat Completions' tables know.

Source: openai-python, ResponseError; for the two of overload the Codex client.
"""

FAILURE_CODES: Final[Mapping[str, str]] = {
    INVALID: "invalid_prompt",
    "rate_limit_error": "rate_limit_exceeded",
    "insufficient_quota": "rate_limit_exceeded",
}
"""The code of a failed response, by the type of our error; any other is server_error."""


def failure_of(error: Json) -> ProviderError:
    """The typed error of a failed response's `error`, or of an `error` event."""
    found = error if isinstance(error, dict) else {"message": error}
    code = found.get("code")
    kind = found.get("type") or (KINDS.get(code) if isinstance(code, str) else None)
    told = error_in_body({"error": {**found, "type": kind}})
    return told or ProviderServerError("The provider reported a failure without saying more.")


def failure_body(error: WaypostError) -> dict[str, Json]:
    """The `error` of a failed response."""
    kind, code = _words(error)
    return {"code": FAILURE_CODES.get(kind, "server_error"), "message": str(error), "type": code}


def error_event(error: WaypostError) -> dict[str, Json]:
    """The members of an `error` event, for a stream that has not begun."""
    return {"code": _words(error)[1], "message": str(error), "param": getattr(error, "param", None)}


def _words(error: WaypostError) -> tuple[str, str]:
    return next(WIRE_ERRORS[known] for known in type(error).__mro__ if known in WIRE_ERRORS)
