"""A POST with a body must say that it is JSON, but where files may be sent, and what is passed through to a provider.

Besides being true, this keeps HTML forms out: the types a form can send (text/plain among them) need no preflight.
What is passed through is kept from forms by its own door, see `doors.raw`.
"""

from __future__ import annotations

from starlette.types import Scope

from waypost.errors import UnsupportedMediaType
from waypost.server.middleware.headers import header_value, header_values

SHOWN = 100
PASSED_THROUGH = "/providers/"
TAKES_FORMS = frozenset({"/api/ai/analyze"})
"""Where files may be sent. A page of another site that sends one says its origin, which the guard has looked at."""
FORM = "multipart/form-data"
TAKES_LINES = "/api/ai/batches/"
"""Under it, lines of JSON may be sent. No form can send that type."""
LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})


def form_refusal(scope: Scope) -> UnsupportedMediaType | None:
    """415 `unsupported_media_type`; None: the body says that it is JSON, or need not."""
    if scope["method"] != "POST" or scope["path"].startswith(PASSED_THROUGH):
        return None
    types = header_values(scope, b"content-type")
    if not types and not _has_body(scope):
        return None
    encoding = header_value(scope, b"content-encoding")
    if encoding is not None and encoding.lower() != "identity":
        return UnsupportedMediaType(
            f'The body is compressed with "{encoding[:SHOWN]}", which is not read here.',
            hint="Send it without content-encoding.",
            param="Content-Encoding",
        )
    if len(types) == 1 and (says_json(types[0]) or (scope["path"] in TAKES_FORMS and says_form(types[0]))):
        return None
    if len(types) == 1 and scope["path"].startswith(TAKES_LINES) and says_lines(types[0]):
        return None
    said = f'"{types[0][:SHOWN]}"' if types else "nothing"
    return UnsupportedMediaType(
        f"The body must be JSON, and its content type says {said}.",
        hint="Send the header content-type: application/json.",
        param="Content-Type",
    )


def _has_body(scope: Scope) -> bool:
    length = header_value(scope, b"content-length")
    return length not in (None, "0") or header_value(scope, b"transfer-encoding") is not None


def says_form(content_type: str) -> bool:
    """Is it a form that may hold files?"""
    return content_type.partition(";")[0].strip().lower() == FORM


def says_lines(content_type: str) -> bool:
    """Is it a type of lines of JSON?"""
    return content_type.partition(";")[0].strip().lower() in LINES


def says_json(content_type: str) -> bool:
    """Is it a type of JSON? No form can send one of those."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
